#include "worker/agent/journal.h"

#include <gmock/gmock.h>

#include <fstream>

#include "common/rng.h"
#include "tests/support/status_matchers.h"

namespace trainyard::worker {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
namespace fs = std::filesystem;

class JournalTest : public testing::Test {
 protected:
  JournalTest() : home_(testing::TempDir() + "/journal-" + RandomHex(4)) {}
  ~JournalTest() override { fs::remove_all(home_); }

  static RankRecord Example(int rank = 0) {
    RankRecord record;
    record.key = {JobId{"shakespeare-x7k2q"}, 3, rank};
    record.process = {4242, 987654321, "a-boot"};
    record.socket = "/run/s.sock";
    record.hello_secret = "00ff";
    record.log = {100, 250};
    record.telemetry_sequence = 17;
    record.ended = true;
    record.end = {"failed", "KILLED", "it was killed by signal 9", 0, 9};
    return record;
  }
  Journal Make() {
    StatusOr<Journal> journal = Journal::Open(home_);
    EXPECT_OK(journal);
    return *std::move(journal);
  }
  void Put(Journal& journal, const RankRecord& record) {
    ASSERT_OK(journal.MakeFolder(record.key));
    ASSERT_OK(journal.Write(record));
  }
  size_t CountAside() const {
    return static_cast<size_t>(std::distance(fs::directory_iterator(home_ / "aside"), {}));
  }

  fs::path home_;
};

TEST_F(JournalTest, WhatWasWrittenIsReadByTheNextAgent) {
  Journal journal = Make();
  Put(journal, Example(1));
  Put(journal, Example(0));
  ASSERT_OK_AND_ASSIGN(const auto scanned, Make().Scan());
  EXPECT_THAT(scanned.ranks, ElementsAre(Example(0), Example(1)));
  EXPECT_THAT(scanned.complaints, IsEmpty());
}

TEST_F(JournalTest, ARemovedRankIsGone) {
  Journal journal = Make();
  Put(journal, Example());
  ASSERT_OK(journal.Remove(Example().key));
  ASSERT_OK(journal.Remove(Example().key));
  EXPECT_THAT(journal.Scan()->ranks, IsEmpty());
  EXPECT_TRUE(fs::is_empty(home_ / "ranks"));
}

TEST_F(JournalTest, ForeignAndTornFoldersAreMovedAsideAndTheRestIsRead) {
  Journal journal = Make();
  Put(journal, Example(0));
  Put(journal, Example(1));
  std::ofstream(home_ / "ranks" / "notes.txt") << "hello";
  fs::create_directory(home_ / "ranks" / "not a rank");
  fs::create_directory_symlink("/etc", home_ / "ranks" / "x-a1-r0");
  fs::resize_file(journal.Folder(Example(1).key) / "rank.json", 60);
  fs::copy(journal.Folder(Example(0).key), home_ / "ranks" / "other-a1-r0");
  ASSERT_OK_AND_ASSIGN(const auto scanned, journal.Scan());
  EXPECT_THAT(scanned.ranks, ElementsAre(Example(0)));
  EXPECT_EQ(scanned.complaints.size(), 5u);
  EXPECT_THAT(scanned.complaints, testing::Contains(HasSubstr("about shakespeare-x7k2q-a3-r0")));
  EXPECT_EQ(CountAside(), 5u);
  EXPECT_TRUE(fs::exists("/etc/hostname"));
  EXPECT_THAT(journal.Scan()->complaints, IsEmpty());
}

TEST_F(JournalTest, AFolderWhoseRankNeverRanIsDeletedQuietly) {
  Journal journal = Make();
  ASSERT_OK(journal.MakeFolder(Example().key));
  std::ofstream(journal.LogFile(Example().key)) << "";
  ASSERT_OK_AND_ASSIGN(const auto scanned, journal.Scan());
  EXPECT_THAT(scanned.ranks, IsEmpty());
  EXPECT_THAT(scanned.complaints, IsEmpty());
  EXPECT_FALSE(fs::exists(journal.Folder(Example().key)));
}

TEST_F(JournalTest, GarbageNeverFillsTheDisk) {
  Journal journal = Make();
  for (int i = 0; i < 40; ++i) {
    std::ofstream(home_ / "ranks" / fmt::format("garbage-{}", i)) << i;
    ASSERT_OK(journal.Scan());
  }
  EXPECT_LE(CountAside(), 17u);
}

TEST_F(JournalTest, AnyDamageToARecordIsRefusedOrHarmless) {
  const std::string good = ToJson(Example());
  const Rng rng{7, Purpose::kInit};
  int refused = 0;
  for (uint64_t i = 0; i < 3000; ++i) {
    std::string bad = good;
    for (uint64_t k = 0; k <= i % 3; ++k)
      bad[rng.Below(bad.size(), i, 2 * k)] = static_cast<char>(rng.Below(256, i, 2 * k + 1));
    if (i % 5 == 0) bad.resize(rng.Below(bad.size(), i, 100));
    const StatusOr<RankRecord> record = RankRecordFromJson(bad);
    if (record.ok()) continue;
    ++refused;
    EXPECT_THAT(record, StatusIs(StatusCode::kDataLoss, testing::Not(IsEmpty())));
  }
  EXPECT_GT(refused, 1500);
  EXPECT_EQ(*RankRecordFromJson(good), Example());
}

}  // namespace
}  // namespace trainyard::worker
