#include <gmock/gmock.h>

#include <fstream>

#include "coordinator/history/history.h"
#include "tests/support/status_matchers.h"
#include "tests/support/temp_folder.h"

namespace trainyard::coordinator {
namespace {

TEST(Notes, ComeBackOnceEachOldestFirst) {
  const TempFolder folder;
  ASSERT_OK_AND_ASSIGN(const auto history, History::Open(folder.path(), {}));
  const JobId job{"j-1"};
  EXPECT_TRUE(history->Notes(job, 10)->empty());
  for (const char* text : {"one", "two", "two", "three \xff"})
    ASSERT_OK(history->AppendNote(
        job, {.attempt = 2, .rank = 1, .wall_time = 5, .type = "evaluation", .message = text}));
  std::ofstream(folder.path() / "j-1" / "notes.jsonl", std::ios::app) << "{\"attempt\": 2, \"ty";
  ASSERT_OK_AND_ASSIGN(const auto notes, history->Notes(job, 10));
  ASSERT_EQ(notes.size(), 3u);
  EXPECT_EQ(notes[0].message, "one");
  EXPECT_EQ(notes[1].message, "two");
  EXPECT_EQ(notes[0].attempt, 2);
  EXPECT_EQ(notes[0].type, "evaluation");
  ASSERT_OK_AND_ASSIGN(const auto newest, history->Notes(job, 1));
  EXPECT_THAT(newest.at(0).message, testing::StartsWith("three"));
}

TEST(Notes, AreBounded) {
  const TempFolder folder;
  ASSERT_OK_AND_ASSIGN(const auto history, History::Open(folder.path(), {}));
  for (int i = 0; i < 400; ++i)
    ASSERT_OK(history->AppendNote(
        JobId{"j"}, {.type = std::to_string(i), .message = std::string(100'000, 'x')}));
  EXPECT_LE(std::filesystem::file_size(folder.path() / "j" / "notes.jsonl"), 1u << 20);
}

}  // namespace
}  // namespace trainyard::coordinator
