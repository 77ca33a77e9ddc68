// SPDX-License-Identifier: Apache-2.0
// Reports as files. For each tests/golden/report/NAME.textproto (a ReportList) there are NAME.txt
// (terminal, plain), NAME.colour.txt (terminal, colours, 80 columns), NAME.json and NAME.xml.
// PLUGPULL_UPDATE_GOLDEN=1 writes them anew; read the difference before you keep it.
#include <google/protobuf/text_format.h>
#include <gtest/gtest.h>

#include "framework/os/file.h"
#include "framework/report/json.h"
#include "framework/report/junit.h"
#include "framework/report/terminal.h"

namespace plugpull::report {
namespace {

constexpr Bytes kGoldenSizeMax = Mebibytes(1);

std::string Folder() { return std::string(PLUGPULL_SOURCE_DIR) + "/tests/golden/report/"; }

void ExpectGolden(const std::string& name, const std::string& now) {
  const std::string path = Folder() + name;
  if (os::GetEnv("PLUGPULL_UPDATE_GOLDEN", "0") == "1") {
    ASSERT_TRUE(os::WriteFileAtomic(path, now).ok());
    return;
  }
  const auto golden = os::ReadFile(path, kGoldenSizeMax);
  ASSERT_TRUE(golden.ok()) << golden.error().ToString();
  EXPECT_EQ(*golden, now) << path << "; PLUGPULL_UPDATE_GOLDEN=1 writes it anew";
}

class ReportGoldenTest : public testing::TestWithParam<std::string> {};

TEST_P(ReportGoldenTest, IsAsKept) {
  const auto text = os::ReadFile(Folder() + GetParam() + ".textproto", kGoldenSizeMax);
  ASSERT_TRUE(text.ok()) << text.error().ToString();
  ReportList reports;
  ASSERT_TRUE(google::protobuf::TextFormat::ParseFromString(*text, &reports));
  ExpectGolden(GetParam() + ".txt", RenderTerminal(reports, {.colour = false, .width = 100}));
  ExpectGolden(GetParam() + ".colour.txt", RenderTerminal(reports, {.colour = true, .width = 80}));
  ExpectGolden(GetParam() + ".json", RenderJson(reports));
  ExpectGolden(GetParam() + ".xml", RenderJUnit(reports));
}

INSTANTIATE_TEST_SUITE_P(Reports, ReportGoldenTest,
                         testing::Values("nothing", "matrix", "errors", "evil", "stale_data"),
                         [](const auto& name) { return name.param; });

}  // namespace
}  // namespace plugpull::report
