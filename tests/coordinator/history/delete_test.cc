#include <gmock/gmock.h>

#include <filesystem>

#include "coordinator/history/history.h"
#include "tests/support/status_matchers.h"
#include "tests/support/temp_folder.h"

namespace trainyard::coordinator {
namespace {

constexpr absl::Time kNoon = absl::FromUnixSeconds(1'700'000'000);

void Fill(History& history, const JobId& job) {
  ASSERT_OK(history.logs().Append({job, 1, 0}, 0, "step 1\n", kNoon));
  ASSERT_OK(history.points().Append(
      job, {{.attempt = 1, .rank = 0, .step = 1, .name = "loss", .value = 2.5, .wall_time = 1}}));
  ASSERT_OK(history.AppendNote(job, {.type = "evaluation", .message = "done"}));
}

TEST(HistoryDelete, TakesLogsPointsAndNotesOfOneJob) {
  const TempFolder folder;
  ASSERT_OK_AND_ASSIGN(const auto history, History::Open(folder.path(), {}));
  const JobId gone{"j-1"}, kept{"j-2"};
  Fill(*history, gone);
  Fill(*history, kept);
  ASSERT_OK_AND_ASSIGN(const HistorySize before, history->Size());
  EXPECT_EQ(before.files, 8);  // of each job: log, its index, points, notes
  ASSERT_OK(history->Delete(gone));
  EXPECT_OK(history->Delete(gone));
  EXPECT_FALSE(std::filesystem::exists(folder.path() / "j-1"));
  EXPECT_EQ(*history->logs().Read({gone, 1, 0}, 0, 100), "");
  EXPECT_EQ(*history->logs().Read({kept, 1, 0}, 0, 100), "step 1\n");
  ASSERT_OK_AND_ASSIGN(const HistorySize after, history->Size());
  EXPECT_EQ(after.files, 4);
  EXPECT_EQ(after.bytes * 2, before.bytes);
  // Another job of that name begins anew.
  Fill(*history, gone);
  EXPECT_EQ(history->Size()->bytes, before.bytes);
}

TEST(HistoryDelete, StaysWithinItsFolder) {
  const TempFolder folder;
  ASSERT_OK_AND_ASSIGN(const auto history, History::Open(folder.path() / "history", {}));
  for (const char* id : {"", "..", "a/b", "."}) EXPECT_FALSE(history->Delete(JobId{id}).ok()) << id;
}

}  // namespace
}  // namespace trainyard::coordinator
