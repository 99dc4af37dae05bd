// Builders for the tests of this folder: folders that vanish, shards out of literal tokens.
#pragma once

#include <gtest/gtest.h>

#include <filesystem>
#include <memory>
#include <string>
#include <vector>

#include "common/files.h"
#include "worker/data/token_shard.h"
#include "worker/data/token_shard_writer.h"

namespace trainyard::worker {

class Folder {
 public:
  Folder() : path_(std::filesystem::path(testing::TempDir()) / ("data-" + RandomHex(8))) {
    EXPECT_TRUE(MakeFolders(path_).ok());
  }
  ~Folder() { std::filesystem::remove_all(path_); }
  Folder(const Folder&) = delete;
  Folder& operator=(const Folder&) = delete;
  const std::filesystem::path& path() const { return path_; }
  std::filesystem::path Write(const std::string& name, std::string_view bytes) const {
    EXPECT_TRUE(WriteFileAtomically(path_ / name, bytes).ok());
    return path_ / name;
  }

 private:
  std::filesystem::path path_;
};

constexpr int32_t kTestEnd = 0;  // the end-of-text id of these shards

// Every token but the end stands for two bytes of text.
inline ShardVocabulary TestVocabulary(size_t entries = 60000) {
  ShardVocabulary vocabulary{.tokenizer_sha256 = Sha256("a tokenizer"),
                             .end_of_text = kTestEnd,
                             .token_sizes = std::vector<uint32_t>(entries, 2)};
  vocabulary.token_sizes[kTestEnd] = 0;
  return vocabulary;
}

// Documents of these tokens, the end not spelled out.
inline void WriteShard(const std::filesystem::path& path,
                       const std::vector<std::vector<int32_t>>& documents,
                       const ShardVocabulary& vocabulary = TestVocabulary()) {
  auto writer = TokenShardWriter::Create(path, vocabulary);
  ASSERT_TRUE(writer.ok()) << writer.status();
  for (const auto& document : documents) {
    ASSERT_TRUE((*writer)->Append(document).ok());
    ASSERT_TRUE((*writer)->EndItem(2 * static_cast<int64_t>(document.size())).ok());
  }
  ASSERT_TRUE((*writer)->Finish().ok());
}

// A shard of documents of these lengths, the end included, whose tokens (ends aside) are all
// different: `first`, first + 1, ...
inline std::shared_ptr<const TokenShard> ShardOfLengths(const Folder& folder,
                                                        const std::vector<int64_t>& lengths,
                                                        int32_t first = 1) {
  std::vector<std::vector<int32_t>> documents;
  for (const int64_t length : lengths) {
    documents.emplace_back();
    for (int64_t i = 1; i < length; ++i) documents.back().push_back(first++);
  }
  const auto path = folder.path() / ("shard-" + RandomHex(4) + ".tok");
  WriteShard(path, documents);
  auto shard = TokenShard::Open(path);
  EXPECT_TRUE(shard.ok()) << shard.status();
  return *shard;
}

}  // namespace trainyard::worker
