// Writes a token shard token by token; the file appears whole, under its name, or not at all.
#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "common/files.h"
#include "common/status.h"

namespace trainyard::worker {

// What all shards of one tokenizer have in common.
struct ShardVocabulary {
  std::string tokenizer_sha256;       // of tokenizer.json, hex
  int32_t end_of_text = 0;            // id
  std::vector<uint32_t> token_sizes;  // [vocab_size] bytes of text per token
};

struct ShardSummary {
  int64_t items = 0;
  int64_t tokens = 0;
  int64_t source_bytes = 0;
  int64_t file_bytes = 0;
  std::string content_sha256;  // once finished
};

// Holds 16 bytes per item in memory. Not thread-safe.
class TokenShardWriter {
 public:
  // InvalidArgument when the vocabulary does not make sense.
  static StatusOr<std::unique_ptr<TokenShardWriter>> Create(const std::filesystem::path& path,
                                                            const ShardVocabulary& vocabulary);
  // An unfinished file is removed.
  ~TokenShardWriter();
  TokenShardWriter(const TokenShardWriter&) = delete;
  TokenShardWriter& operator=(const TokenShardWriter&) = delete;

  // Adds to the item begun. InvalidArgument for an id outside the vocabulary.
  Status Append(std::span<const int32_t> ids);
  // Ends the item with the end-of-text token; `source_bytes` of text went into it.
  Status EndItem(int64_t source_bytes);
  // Makes the file durable under its name. No item may be open; nothing can be added afterwards.
  StatusOr<ShardSummary> Finish();

  const ShardSummary& written() const { return summary_; }

 private:
  TokenShardWriter(const std::filesystem::path& path, const ShardVocabulary& vocabulary);
  Status Write(std::string_view bytes);  // part of the contents: hashed and buffered
  Status Flush();
  const std::filesystem::path path_;
  const std::string temporary_;
  const ShardVocabulary vocabulary_;
  const bool wide_;
  UniqueFd fd_;
  Sha256Stream digest_;
  std::string buffer_;
  std::vector<uint64_t> item_end_, item_bytes_;
  ShardSummary summary_;
};

}  // namespace trainyard::worker
