// Tokens on disk, memory-mapped: items (documents) one after the other, each ended by the
// end-of-text token. shard_format.h has the bytes.
#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <string>
#include <vector>

#include "common/status.h"

namespace trainyard::worker {

// Reads. Immutable; may be used by many threads. The file must not be changed while it is mapped:
// prepared folders are content-addressed and never are.
class TokenShard {
 public:
  // Checks every byte: DataLoss naming the file and what is wrong when it is cut short, altered or
  // no shard. Reads the file once (about a second per GB).
  static StatusOr<std::shared_ptr<const TokenShard>> Open(const std::filesystem::path& path);
  ~TokenShard();
  TokenShard(const TokenShard&) = delete;
  TokenShard& operator=(const TokenShard&) = delete;

  int64_t items() const { return items_; }
  int64_t tokens() const { return tokens_; }  // end-of-text included
  int64_t vocab_size() const { return vocab_size_; }
  int32_t end_of_text() const { return end_of_text_; }
  const std::string& tokenizer_sha256() const { return tokenizer_sha256_; }
  // Names what the shard holds: equal for equal tokens, items and tokenizer.
  const std::string& content_sha256() const { return content_sha256_; }

  // Item `item` is the tokens [item_begin, item_end) of the shard.
  int64_t item_begin(int64_t item) const { return item == 0 ? 0 : item_end(item - 1); }
  int64_t item_end(int64_t item) const;
  // Bytes of UTF-8 text the item stands for.
  int64_t item_bytes(int64_t item) const;
  int32_t token(int64_t position) const;
  // Tokens [begin, begin + count).
  void CopyTokens(int64_t begin, int64_t count, int32_t* out) const;
  // Bytes of text a token stands for; 0 for special tokens.
  int64_t token_size(int32_t id) const;

 private:
  TokenShard() = default;
  Status Map(const std::filesystem::path& path);
  Status CheckContents(const std::filesystem::path& path) const;
  const uint8_t* base_ = nullptr;
  int64_t file_bytes_ = 0;
  int64_t items_ = 0, tokens_ = 0, vocab_size_ = 0;
  int32_t end_of_text_ = 0;
  bool wide_ = false;  // tokens of 4 bytes
  const uint8_t* token_data_ = nullptr;
  const uint64_t* item_end_ = nullptr;
  const uint64_t* item_bytes_ = nullptr;
  const uint32_t* token_size_ = nullptr;
  std::string tokenizer_sha256_, content_sha256_;
};

}  // namespace trainyard::worker
