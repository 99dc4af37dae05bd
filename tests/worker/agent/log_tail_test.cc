#include "worker/agent/log_tail.h"

#include <gmock/gmock.h>
#include <sys/stat.h>

#include <fstream>

#include "tests/support/status_matchers.h"

namespace trainyard::worker {
namespace {

class LogTailTest : public testing::Test {
 protected:
  LogTailTest() : folder_(testing::TempDir() + "/log-tail-" + RandomHex(4)) {
    std::filesystem::create_directories(folder_);
  }
  ~LogTailTest() override { std::filesystem::remove_all(folder_); }

  std::filesystem::path path() const { return folder_ / "log"; }
  void Append(const std::string& bytes) { std::ofstream(path(), std::ios::app) << bytes; }
  int64_t BytesOnDisk() const {
    struct stat info;
    EXPECT_EQ(::stat(path().c_str(), &info), 0);
    return int64_t{info.st_blocks} * 512;
  }
  // Everything there is now, with every piece's offset checked against the one before.
  static std::string ReadAll(LogTail& tail) {
    std::string text;
    const int64_t start = tail.next().stored;
    while (true) {
      StatusOr<std::optional<LogPiece>> piece = tail.Read(1 << 16);
      EXPECT_OK(piece);
      if (!piece.ok() || !piece->has_value()) return text;
      EXPECT_EQ((*piece)->stored_offset, start + static_cast<int64_t>(text.size()));
      text += (*piece)->bytes;
    }
  }

  std::filesystem::path folder_;
};

std::string Lines(int from, int to) {
  std::string text;
  for (int i = from; i < to; ++i) text += fmt::format("line {:09}\n", i);
  return text;
}

TEST_F(LogTailTest, AFileThatIsNotThereYetIsAnEmptyLog) {
  LogTail tail(path(), {}, 1 << 20);
  EXPECT_EQ(ReadAll(tail), "");
  Append("hello\n");
  EXPECT_EQ(ReadAll(tail), "hello\n");
  EXPECT_EQ(ReadAll(tail), "");
  EXPECT_TRUE(*tail.AtEnd());
}

TEST_F(LogTailTest, ReleasedBytesGiveTheirBlocksBackAndTheRestIsReadAsBefore) {
  const std::string first = Lines(0, 100'000), second = Lines(100'000, 100'010);
  Append(first);
  LogTail tail(path(), {}, 64 << 20);
  EXPECT_EQ(ReadAll(tail), first);
  const int64_t before = BytesOnDisk();
  ASSERT_OK(tail.Release(tail.next()));
  EXPECT_LT(BytesOnDisk(), 200'000);
  EXPECT_GT(before, 1'000'000);
  Append(second);
  EXPECT_EQ(ReadAll(tail), second);
}

TEST_F(LogTailTest, ANewTailGoesOnWhereTheOldOneWasAcknowledged) {
  Append(Lines(0, 20'000));
  LogTail tail(path(), {}, 64 << 20);
  StatusOr<std::optional<LogPiece>> piece = tail.Read(100'001);
  ASSERT_TRUE(piece.ok() && piece->has_value());
  ASSERT_OK(tail.Release((*piece)->end));
  LogTail next(path(), (*piece)->end, 64 << 20);
  EXPECT_EQ((*piece)->bytes + ReadAll(next), Lines(0, 20'000));
}

TEST_F(LogTailTest, AFloodIsBoundedOnDiskAndSaysThatBytesWereDropped) {
  constexpr int64_t kBound = 1 << 20;
  LogTail tail(path(), {}, kBound);
  int64_t dropped = 0;
  for (int i = 0; i < 40; ++i) {
    Append(Lines(i * 50'000, (i + 1) * 50'000));  // 700 kB each
    StatusOr<int64_t> now = tail.Bound();
    ASSERT_OK(now);
    dropped += *now;
    EXPECT_LT(BytesOnDisk(), kBound + 256 * 1024);
  }
  EXPECT_GT(dropped, int64_t{24} << 20);
  const std::string text = ReadAll(tail);
  EXPECT_THAT(text, testing::StartsWith("line 000000000\n"));
  EXPECT_THAT(text, testing::HasSubstr(std::string(kDroppedLogLine)));
  EXPECT_THAT(text, testing::EndsWith(fmt::format("line {:09}\n", 40 * 50'000 - 1)));
}

TEST_F(LogTailTest, WhatWasDroppedStaysDroppedForTheNextAgent) {
  LogTail tail(path(), {}, 1 << 20);
  Append(Lines(0, 500'000));
  ASSERT_OK(tail.Bound());
  LogTail again(path(), {}, 1 << 20);
  EXPECT_EQ(ReadAll(again), ReadAll(tail));
}

TEST_F(LogTailTest, ATruncatedFileIsReadFromItsBeginning) {
  Append("first\n");
  LogTail tail(path(), {}, 1 << 20);
  EXPECT_EQ(ReadAll(tail), "first\n");
  std::filesystem::resize_file(path(), 0);
  Append("new\n");
  EXPECT_EQ(ReadAll(tail), "new\n");
  EXPECT_EQ(tail.next().stored, 10);
}

TEST_F(LogTailTest, ASymbolicLinkInTheLogsPlaceIsNotFollowed) {
  std::filesystem::create_symlink("/etc/hostname", path());
  LogTail tail(path(), {}, 1 << 20);
  EXPECT_FALSE(tail.Read(100).ok());
}

}  // namespace
}  // namespace trainyard::worker
