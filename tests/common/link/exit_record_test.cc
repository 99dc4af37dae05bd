#include "common/link/exit_record.h"

#include <filesystem>

#include "common/files.h"
#include "tests/support/status_matchers.h"

namespace trainyard::link {
namespace {

using testing::HasSubstr;

class ExitRecordTest : public testing::Test {
 protected:
  ExitRecordTest() { EXPECT_OK(MakeFolders(folder_)); }
  ~ExitRecordTest() override { std::filesystem::remove_all(folder_); }

  const std::filesystem::path folder_ =
      std::filesystem::path(testing::TempDir()) / ("exit-" + RandomHex(4));
  const std::filesystem::path path_ = folder_ / kExitRecordFile;
};

TEST_F(ExitRecordTest, ComesBackFromItsFile) {
  ExitRecord record{.wall_time = 1.5e9, .status = {}, .telemetry_file = kUnsentTelemetryFile};
  record.status.job = JobId{"a-1"};
  record.status.outcome = {
      .kind = OutcomeKind::kSucceeded, .code = "OK", .reason = "", .message = "done"};
  ASSERT_OK(WriteExitRecord(path_, record));
  ASSERT_OK_AND_ASSIGN(const ExitRecord back, ReadExitRecord(path_));
  EXPECT_EQ(back.status, record.status);
  EXPECT_EQ(back.wall_time, record.wall_time);
  EXPECT_EQ(back.telemetry_file, record.telemetry_file);
}

TEST_F(ExitRecordTest, NoRecordIsNotFound) {
  EXPECT_THAT(ReadExitRecord(path_), StatusIs(StatusCode::kNotFound, HasSubstr("exit.json")));
}

TEST_F(ExitRecordTest, RefusesWhatIsNoRecord) {
  EXPECT_FALSE(WriteExitRecord(path_, {}).ok()) << "without an outcome";
  ASSERT_OK(WriteFileAtomically(path_, "{\"version\": 1"));
  EXPECT_THAT(ReadExitRecord(path_), StatusIs(StatusCode::kInvalidArgument, HasSubstr("not JSON")));
  ASSERT_OK(WriteFileAtomically(path_, "{\"version\": 1}"));
  EXPECT_THAT(ReadExitRecord(path_),
              StatusIs(StatusCode::kInvalidArgument, HasSubstr("exit_record.wall_time: missing")));
}

TEST_F(ExitRecordTest, TheTelemetryFileStaysInTheFolder) {
  ExitRecord record{.wall_time = 1, .status = {}, .telemetry_file = "../x"};
  record.status.outcome.emplace();
  ASSERT_OK(WriteExitRecord(path_, record));
  EXPECT_THAT(ReadExitRecord(path_),
              StatusIs(StatusCode::kInvalidArgument, HasSubstr("telemetry_file")));
}

}  // namespace
}  // namespace trainyard::link
