// The bytes of a token shard, little-endian. Shared by its writer and its reader only.
//
//   header      128 bytes
//   tokens      tokens x token_bytes, zeros up to a multiple of 8
//   item_end    items x uint64: one past the item's last token; items follow each other from 0
//   item_bytes  items x uint64: bytes of source text the item stands for
//   token_size  vocab_size x uint32: bytes of text each token stands for, zeros up to a multiple of
//   8
//
// An item is a document's tokens and, last, the end-of-text token. content_sha256 is the digest of
// everything after the header followed by the header's first kHashedHeaderBytes bytes, so that no
// byte of the file can change unseen (reserved bytes must be zero).
#pragma once

#include <bit>
#include <cstdint>

namespace trainyard::worker {

static_assert(std::endian::native == std::endian::little, "shards are mapped as they lie");

constexpr char kShardMagic[4] = {'T', 'Y', 'T', 'S'};
constexpr uint32_t kShardVersion = 1;

struct ShardHeader {
  char magic[4];
  uint32_t version;
  uint32_t token_bytes;  // 2 or 4
  uint32_t end_of_text;  // id
  uint64_t items;
  uint64_t tokens;
  uint64_t vocab_size;
  uint8_t tokenizer_sha256[32];  // of tokenizer.json
  uint8_t content_sha256[32];
  uint8_t reserved[24];
};
static_assert(sizeof(ShardHeader) == 128);

constexpr uint64_t kHashedHeaderBytes = 72;  // up to content_sha256
// Greatest counts a reader takes, so that sizes computed from them cannot overflow.
constexpr uint64_t kShardTokensMax = uint64_t{1} << 40;
constexpr uint64_t kVocabSizeMax = uint64_t{1} << 31;

constexpr uint64_t PaddedTo8(uint64_t bytes) { return (bytes + 7) / 8 * 8; }

// Where the parts begin, and the size of the whole file.
struct ShardLayout {
  uint64_t tokens, item_end, item_bytes, token_size, file_bytes;
};
constexpr ShardLayout LayoutOf(const ShardHeader& header) {
  ShardLayout at{};
  at.tokens = sizeof(ShardHeader);
  at.item_end = at.tokens + PaddedTo8(header.tokens * header.token_bytes);
  at.item_bytes = at.item_end + 8 * header.items;
  at.token_size = at.item_bytes + 8 * header.items;
  at.file_bytes = at.token_size + PaddedTo8(4 * header.vocab_size);
  return at;
}

}  // namespace trainyard::worker
