// The shards of one source as one long stretch of tokens, and how a row of it becomes part of a
// batch.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "common/status.h"
#include "worker/data/batch.h"
#include "worker/data/token_shard.h"

namespace trainyard::worker {

// A run of consecutive tokens of one item, as part of a row.
struct Segment {
  int64_t begin = 0;  // token of the source
  int64_t count = 0;
  bool operator==(const Segment&) const = default;
};

class TokenSource {
 public:
  // InvalidArgument when there is no shard or no token, or when the shards were made by different
  // tokenizers.
  static StatusOr<TokenSource> Create(std::vector<std::shared_ptr<const TokenShard>> shards);

  int64_t tokens() const { return shard_ends_.back(); }
  const TokenShard& first_shard() const { return *shards_[0]; }
  // [items] one past each item's last token; strictly increasing.
  std::vector<int64_t> ItemEnds() const;
  // [items] bytes of source text.
  std::vector<int64_t> ItemBytes() const;
  // Names the tokens: the shards' digests, in order.
  std::string digest() const;

  // Tokens [begin, begin + count), all of one shard (an item never spans two).
  void Copy(int64_t begin, int64_t count, int32_t* out) const;
  // Adds the segment to the batch. Its tokens are the targets; what is read at each place is the
  // token before it: the end-of-text token before an item's first, so that documents begin with it.
  // Positions count from 0 and attention sees nothing before the segment.
  void AppendTo(const Segment& segment, Batch& batch) const;
  // Adds the segment's own tokens between `prefix` and `suffix` as an item without targets.
  void AppendItem(const Segment& segment, std::span<const int32_t> prefix,
                  std::span<const int32_t> suffix, Batch& batch) const;

 private:
  TokenSource() = default;
  std::vector<std::shared_ptr<const TokenShard>> shards_;
  std::vector<int64_t> shard_ends_;  // [shards] one past the shard's last token
};

// InvalidArgument unless both hold tokens of the same tokenizer.
Status CheckSameTokenizer(const TokenShard& a, const TokenShard& b);

}  // namespace trainyard::worker
