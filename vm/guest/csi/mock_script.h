// SPDX-License-Identifier: Apache-2.0
// What a mock node plugin answers. Pure. A text, one rule a line, # begins a comment:
//
//   name mock.csi.example                       what GetPluginInfo says
//   without STAGE_UNSTAGE_VOLUME                a capability that it does not have
//   NodeStageVolume pvc-0001 1-3 UNAVAILABLE    the first three such calls for this volume fail
//   NodePublishVolume * 2 INTERNAL 250 no luck  the second for any volume, after 250 ms
//   NodeGetVolumeStats * 1- ABNORMAL 0 bad      OK, and the volume's condition is abnormal
//
// Calls are counted for each method and volume, from 1; the first rule that fits decides. All other
// calls succeed at once.
#pragma once

#include <cstdint>
#include <map>
#include <set>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "framework/base/result.h"
#include "framework/base/units.h"

namespace plugpull::csi {

struct MockAnswer {
  int code = 0;  // gRPC status
  bool abnormal = false;
  Millis delay{0};
  std::string message;
};

// One thread.
class MockScript {
 public:
  // User errors name the line.
  static Result<MockScript> Parse(std::string_view text);

  // Counts the call.
  MockAnswer Next(const std::string& method, const std::string& volume);
  bool Has(const std::string& capability) const { return !without_.contains(capability); }
  const std::string& name() const { return name_; }

 private:
  struct Rule {
    std::string method;
    std::string volume;
    uint64_t from = 1;
    uint64_t to = UINT64_MAX;
    MockAnswer answer;
  };

  static Result<Rule> ParseRule(const std::vector<std::string>& words);

  std::string name_ = "mock.csi.plugpull";
  std::set<std::string> without_;
  std::vector<Rule> rules_;
  std::map<std::pair<std::string, std::string>, uint64_t> counts_;
};

}  // namespace plugpull::csi
