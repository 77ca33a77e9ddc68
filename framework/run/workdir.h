// SPDX-License-Identifier: Apache-2.0
// The one class that knows every path of a results folder:
//
//   OUT/PLACE/recording/   PLACE is SCENARIO/VARIANT (VARIANT is "default" where there are none),
//                          and kernel and seed below it where one call runs several of them
//   OUT/PLACE/failed/      console of a guest run that gave no recording
//   OUT/PLACE/boots/N/recording/   the second and later boots of a scenario with power cuts,
//                          beside the recording of the first
//   OUT/PLACE/recoveries/WHO-STATE/recording/   recorded recoveries (nested cuts), beside the
//                          recording whose states were recovered
//   OUT/report.textproto              ReportList, what all other reports are made from
//   OUT/report.json  OUT/junit.xml
#pragma once

#include <string>

#include "framework/base/result.h"
#include "framework/proto/verdict.pb.h"

namespace plugpull::run {

inline constexpr char kDefaultOut[] = "plugpull-out";

class Workdir {
 public:
  // Makes the folder when it is missing.
  static Result<Workdir> Open(const std::string& root);

  const std::string& root() const { return root_; }
  static std::string PlaceOf(const std::string& scenario, const std::string& variant);
  std::string RecordingFolder(const std::string& place) const {
    return root_ + "/" + place + "/recording";
  }
  std::string FailedFolder(const std::string& place) const {
    return root_ + "/" + place + "/failed";
  }
  // Of a recording folder, wherever it lies: where the recoveries of its states are, and the
  // recording of one. `who`: "kernel" or "e2fsck"; ids that are too long for a name of a folder
  // are cut and closed by a fingerprint.
  static std::string RecoveriesFolder(const std::string& recording);
  static std::string RecoveryRecording(const std::string& recording, const std::string& who,
                                       const std::string& state);
  // Of the recording of a first boot, wherever it lies: where the later ones are, and the recording
  // of one (`number` from 2).
  static std::string BootsFolder(const std::string& recording);
  static std::string BootRecording(const std::string& recording, uint32_t number);
  std::string ReportFile() const { return root_ + "/report.textproto"; }
  std::string JsonFile() const { return root_ + "/report.json"; }
  std::string JUnitFile() const { return root_ + "/junit.xml"; }

  Status WriteReports(const ReportList& reports, const std::string& json,
                      const std::string& junit) const;
  // Removes what WriteReports wrote.
  Status RemoveReports() const;
  // The ReportList of a results folder. A user error when there is none.
  static Result<ReportList> ReadReports(const std::string& root);

 private:
  explicit Workdir(std::string root) : root_(std::move(root)) {}
  std::string root_;
};

}  // namespace plugpull::run
