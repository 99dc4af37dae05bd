#include "coordinator/history/log_store.h"

#include <gmock/gmock.h>

#include <filesystem>
#include <fstream>

#include "coordinator/history/history.h"
#include "tests/support/status_matchers.h"
#include "tests/support/temp_folder.h"

namespace trainyard::coordinator {
namespace {

using testing::HasSubstr;
using testing::SizeIs;

constexpr int64_t kQuota = 100;

class Logs : public testing::Test {
 protected:
  void SetUp() override { Reopen(); }
  void Reopen() {
    history_.reset();
    auto opened =
        History::Open(folder_.path(), {.logs = {.quota_bytes = kQuota, .open_files_max = 2}});
    ASSERT_OK(opened);
    history_ = *std::move(opened);
  }
  StatusOr<LogAppended> Append(int64_t offset, std::string_view bytes) {
    return history_->logs().Append(key_, offset, bytes, now_);
  }
  std::string All(const LogKey& key) {
    auto bytes = history_->logs().Read(key, 0, 1 << 20);
    EXPECT_OK(bytes);
    return bytes.value_or("");
  }

  TempFolder folder_;
  std::unique_ptr<History> history_;
  const LogKey key_{JobId{"shakespeare-x7k2q"}, 1, 0};
  absl::Time now_ = absl::FromUnixSeconds(1'700'000'000);
};

TEST_F(Logs, SkipWhatTheyHaveAndTakeTheRest) {
  EXPECT_EQ(Append(0, "to be ")->end, 6);
  EXPECT_EQ(Append(0, "to be ")->end, 6);      // sent again
  EXPECT_EQ(Append(3, "be or not")->end, 12);  // half of it known
  EXPECT_EQ(Append(2, "xx")->end, 12);         // wholly known: what is stored stays
  EXPECT_EQ(All(key_), "to be or not");
}

TEST_F(Logs, RefuseAGapAndSayWhereToGoBackTo) {
  ASSERT_OK(Append(0, "abc"));
  ASSERT_OK_AND_ASSIGN(const LogAppended gap, Append(5, "fgh"));
  EXPECT_TRUE(gap.gap);
  EXPECT_EQ(gap.end, 3);
  EXPECT_EQ(All(key_), "abc");
}

TEST_F(Logs, GoOnWhereTheyWereAfterARestart) {
  ASSERT_OK(Append(0, "abc"));
  Reopen();
  EXPECT_EQ(Append(0, "abcdef")->end, 6);
  EXPECT_EQ(All(key_), "abcdef");
}

TEST_F(Logs, EndWithALineAtTheQuotaAndAcceptTheRestWithoutKeepingIt) {
  const std::string text(150, 'x');
  EXPECT_EQ(Append(0, text)->end, 150);
  const std::string stored = All(key_);
  EXPECT_EQ(stored.substr(0, kQuota), text.substr(0, kQuota));
  EXPECT_THAT(stored.substr(kQuota), HasSubstr("quota"));
  EXPECT_EQ(Append(150, "more")->end, 154);
  Reopen();
  EXPECT_EQ(Append(154, "yet more")->end, 162);
  EXPECT_EQ(Append(10'000, "after a hole")->end, 10'012);
  EXPECT_EQ(All(key_), stored);
}

TEST_F(Logs, MendAQuotaLineThatACrashTore) {
  ASSERT_OK(Append(0, std::string(150, 'x')));
  const std::string whole = All(key_);
  const auto file = folder_.path() / "shakespeare-x7k2q" / "a1-r0.log";
  history_.reset();
  std::filesystem::resize_file(file, kQuota + 5);
  Reopen();
  ASSERT_OK(Append(150, "more"));
  EXPECT_EQ(All(key_), whole);
}

TEST_F(Logs, ExactlyAtTheQuotaAreNotCutShort) {
  EXPECT_EQ(Append(0, std::string(kQuota, 'x'))->end, kQuota);
  EXPECT_THAT(All(key_), SizeIs(kQuota));
}

TEST_F(Logs, KeepManyRanksApartWithFewOpenFiles) {
  for (int round = 0; round < 3; ++round)
    for (int rank = 0; rank < 6; ++rank)
      ASSERT_OK(history_->logs().Append({key_.job, 1, rank}, round,
                                        std::string(1, static_cast<char>('a' + rank)), now_));
  ASSERT_OK_AND_ASSIGN(const auto entries, history_->logs().List(key_.job));
  ASSERT_THAT(entries, SizeIs(6));
  for (int rank = 0; rank < 6; ++rank) {
    EXPECT_EQ(entries[static_cast<size_t>(rank)].rank, rank);
    EXPECT_EQ(entries[static_cast<size_t>(rank)].size, 3);
    EXPECT_EQ(All({key_.job, 1, rank}), std::string(3, static_cast<char>('a' + rank)));
  }
}

TEST_F(Logs, AreReadFromAnyOffsetAndEmptyPastTheEnd) {
  ASSERT_OK(Append(0, "abcdef"));
  EXPECT_EQ(*history_->logs().Read(key_, 2, 3), "cde");
  EXPECT_EQ(*history_->logs().Read(key_, 6, 3), "");
  EXPECT_EQ(*history_->logs().Read(key_, 60, 3), "");
  EXPECT_EQ(*history_->logs().Read({key_.job, 9, 9}, 0, 3), "");
  EXPECT_THAT(history_->logs().Read(key_, -1, 3),
              StatusIs(StatusCode::kInvalidArgument, HasSubstr("-1")));
}

TEST_F(Logs, FindTheByteThatCameAtATime) {
  ASSERT_OK(Append(0, "first "));
  now_ += absl::Seconds(10);
  ASSERT_OK(Append(6, "second "));
  now_ += absl::Seconds(10);
  ASSERT_OK(Append(13, "third"));
  const auto& logs = history_->logs();
  EXPECT_EQ(*logs.OffsetAt(key_, now_ - absl::Minutes(1)), 0);
  EXPECT_EQ(*logs.OffsetAt(key_, now_ - absl::Seconds(9)), 6);
  EXPECT_EQ(*logs.OffsetAt(key_, now_), 13);
  EXPECT_EQ(*logs.OffsetAt(key_, absl::Now() + absl::Hours(1)), 18);
}

TEST_F(Logs, HoldNoNameThatLeadsElsewhere) {
  for (const char* job : {"../evil", "a/b", "", ".hidden", "/etc"})
    EXPECT_THAT(history_->logs().Append({JobId{job}, 1, 0}, 0, "x", now_),
                StatusIs(StatusCode::kInvalidArgument, testing::_))
        << job;
  EXPECT_THAT(history_->logs().Append({key_.job, 0, 0}, 0, "x", now_),
              StatusIs(StatusCode::kInvalidArgument, HasSubstr("attempt 0")));
  EXPECT_THAT(history_->logs().Append({key_.job, 1, -1}, 0, "x", now_),
              StatusIs(StatusCode::kInvalidArgument, HasSubstr("rank -1")));
}

TEST_F(Logs, TellWhenTheirBytesAreDurable) {
  absl::Mutex mu;
  int answers = 0;
  for (int i = 0; i < 3; ++i) {
    ASSERT_OK(Append(i, "x"));
    history_->WhenSynced([&](const Status& status) {
      EXPECT_OK(status);
      absl::MutexLock lock(&mu);
      ++answers;
    });
  }
  const auto all = [&answers] { return answers == 3; };
  absl::MutexLock lock(&mu);
  EXPECT_TRUE(mu.AwaitWithTimeout(absl::Condition(&all), absl::Seconds(20)));
}

}  // namespace
}  // namespace trainyard::coordinator
