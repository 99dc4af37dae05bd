#include "worker/data/token_shard.h"

#include <fcntl.h>
#include <gmock/gmock.h>
#include <unistd.h>

#include "common/rng.h"
#include "tests/support/status_matchers.h"
#include "tests/worker/data/shards.h"
#include "worker/data/shard_format.h"

namespace trainyard::worker {
namespace {

using testing::HasSubstr;

std::vector<int32_t> TokensOf(const TokenShard& shard) {
  std::vector<int32_t> tokens(static_cast<size_t>(shard.tokens()));
  shard.CopyTokens(0, shard.tokens(), tokens.data());
  return tokens;
}

TEST(TokenShard, GivesBackWhatWasWritten) {
  const Folder folder;
  WriteShard(folder.path() / "a.tok", {{5, 6, 7}, {}, {59999}});
  ASSERT_OK_AND_ASSIGN(const auto shard, TokenShard::Open(folder.path() / "a.tok"));
  EXPECT_THAT(TokensOf(*shard), testing::ElementsAre(5, 6, 7, 0, 0, 59999, 0));
  EXPECT_EQ(shard->items(), 3);
  EXPECT_EQ(shard->item_begin(2), 5);
  EXPECT_EQ(shard->item_end(2), 7);
  EXPECT_EQ(shard->item_bytes(0), 6);
  EXPECT_EQ(shard->vocab_size(), 60000);
  EXPECT_EQ(shard->end_of_text(), kTestEnd);
  EXPECT_EQ(shard->token_size(kTestEnd), 0);
  EXPECT_EQ(shard->token_size(59999), 2);
  EXPECT_EQ(shard->tokenizer_sha256(), Sha256("a tokenizer"));
}

TEST(TokenShard, KeepsTokensOfLargeVocabularies) {
  const Folder folder;
  WriteShard(folder.path() / "a.tok", {{99999, 65536, 1}}, TestVocabulary(100000));
  ASSERT_OK_AND_ASSIGN(const auto shard, TokenShard::Open(folder.path() / "a.tok"));
  EXPECT_THAT(TokensOf(*shard), testing::ElementsAre(99999, 65536, 1, 0));
}

TEST(TokenShard, IsTheSameBytesForTheSameTokens) {
  const Folder folder;
  WriteShard(folder.path() / "a.tok", {{1, 2}, {3}});
  WriteShard(folder.path() / "b.tok", {{1, 2}, {3}});
  EXPECT_EQ(*ReadFile(folder.path() / "a.tok"), *ReadFile(folder.path() / "b.tok"));
}

TEST(TokenShardWriter, RefusesIdsOutsideTheVocabularyAndLeavesNothingUnfinished) {
  const Folder folder;
  {
    ASSERT_OK_AND_ASSIGN(const auto writer,
                         TokenShardWriter::Create(folder.path() / "a.tok", TestVocabulary(10)));
    EXPECT_THAT(writer->Append(std::vector<int32_t>{10}),
                StatusIs(StatusCode::kInvalidArgument, HasSubstr("10")));
    EXPECT_THAT(writer->Append(std::vector<int32_t>{-1}),
                StatusIs(StatusCode::kInvalidArgument, HasSubstr("-1")));
  }
  EXPECT_TRUE(std::filesystem::is_empty(folder.path()));
}

class DamagedShard : public testing::Test {
 protected:
  void SetUp() override {
    path_ = folder_.path() / "train.tok";
    WriteShard(path_, {{1, 2, 3, 4, 5}, {6, 7}, {8, 9, 10}}, TestVocabulary(300));
    bytes_ = *ReadFile(path_);
    ASSERT_OK(TokenShard::Open(path_));
  }
  Status OpenWith(std::string_view bytes) {
    // In place: replacing thousands of files atomically would take minutes.
    const UniqueFd fd(::open(path_.c_str(), O_WRONLY | O_CLOEXEC));
    EXPECT_OK(WriteAll(fd.get(), bytes, "the damaged shard"));
    EXPECT_EQ(::ftruncate(fd.get(), static_cast<off_t>(bytes.size())), 0);
    return TokenShard::Open(path_).status();
  }
  std::string Flipped(size_t byte, int bit) const {
    std::string bytes = bytes_;
    bytes[byte] = static_cast<char>(bytes[byte] ^ (1 << bit));
    return bytes;
  }

  const Folder folder_;
  std::filesystem::path path_;
  std::string bytes_;
};

TEST_F(DamagedShard, IsRefusedByNameWhateverBitOfItsHeaderIsFlipped) {
  for (size_t byte = 0; byte < sizeof(ShardHeader); ++byte)
    for (int bit = 0; bit < 8; ++bit)
      EXPECT_THAT(OpenWith(Flipped(byte, bit)),
                  StatusIs(StatusCode::kDataLoss, HasSubstr("train.tok")))
          << "byte " << byte << " bit " << bit;
}

TEST_F(DamagedShard, IsRefusedWhateverByteOfItsBodyIsChanged) {
  for (size_t byte = sizeof(ShardHeader); byte < bytes_.size(); ++byte)
    EXPECT_THAT(OpenWith(Flipped(byte, static_cast<int>(byte % 8))),
                StatusIs(StatusCode::kDataLoss, HasSubstr("hash")))
        << byte;
}

TEST_F(DamagedShard, IsRefusedWhenCutShortOrMadeLonger) {
  for (size_t size = 0; size < bytes_.size(); ++size)
    EXPECT_THAT(OpenWith(std::string_view(bytes_).substr(0, size)),
                StatusIs(StatusCode::kDataLoss, HasSubstr("train.tok")))
        << size;
  EXPECT_THAT(OpenWith(bytes_ + '\0'), StatusIs(StatusCode::kDataLoss, HasSubstr("bytes")));
}

// What a mutation does to a shard; from (seed, round) alone.
std::string Mutated(const std::string& original, uint64_t round) {
  const Rng rng{.seed = 11, .purpose = Purpose::kMask};
  std::string bytes = original;
  const uint64_t changes = 1 + rng.Below(4, round, 0);
  for (uint64_t i = 0; i < changes; ++i) {
    const auto draw = [&](uint64_t n, uint64_t what) { return rng.Below(n, round, 8 * i + what); };
    if (bytes.empty()) break;
    // Half of all changes hit the header, where the sizes are.
    const size_t limit = draw(2, 1) == 0 ? std::min<size_t>(128, bytes.size()) : bytes.size();
    const size_t at = draw(limit, 2);
    switch (draw(5, 3)) {
      case 0:
        bytes[at] = static_cast<char>(draw(256, 4));
        break;
      case 1:
        bytes[at] = static_cast<char>(bytes[at] ^ (1 << draw(8, 4)));
        break;
      case 2:
        bytes.resize(at);
        break;
      case 3:
        bytes.insert(at, draw(17, 4), static_cast<char>(draw(256, 5)));
        break;
      default:  // a count of extreme value
        for (size_t k = at / 8 * 8; k < std::min(at / 8 * 8 + 8, bytes.size()); ++k)
          bytes[k] = draw(2, 4) == 0 ? '\xff' : (k % 8 == 7 ? '\x7f' : '\xff');
    }
  }
  return bytes;
}

TEST_F(DamagedShard, IsRefusedAfterAnyOfTenThousandMutations) {
  int changed = 0;
  for (uint64_t round = 0; round < 10000; ++round) {
    const std::string bytes = Mutated(bytes_, round);
    if (bytes == bytes_) continue;
    ++changed;
    ASSERT_EQ(OpenWith(bytes).code(), StatusCode::kDataLoss) << "round " << round;
  }
  EXPECT_GT(changed, 9000);
}

}  // namespace
}  // namespace trainyard::worker
