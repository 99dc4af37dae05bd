#include "worker/data/token_source.h"

#include <algorithm>
#include <numeric>
#include <utility>

#include "common/files.h"
#include "common/require.h"

namespace trainyard::worker {

Status CheckSameTokenizer(const TokenShard& a, const TokenShard& b) {
  if (a.tokenizer_sha256() == b.tokenizer_sha256() && a.vocab_size() == b.vocab_size() &&
      a.end_of_text() == b.end_of_text())
    return OkStatus();
  return InvalidArgument(
      "the token shards were made by different tokenizers ({} with {} entries, {} with {}); "
      "prepare them together",
      a.tokenizer_sha256(), a.vocab_size(), b.tokenizer_sha256(), b.vocab_size());
}

StatusOr<TokenSource> TokenSource::Create(std::vector<std::shared_ptr<const TokenShard>> shards) {
  if (shards.empty()) return InvalidArgument("a data source needs at least one token shard");
  TokenSource source;
  int64_t tokens = 0;
  for (const auto& shard : shards) {
    RETURN_IF_ERROR(CheckSameTokenizer(*shards[0], *shard));
    tokens += shard->tokens();
    source.shard_ends_.push_back(tokens);
  }
  if (tokens == 0) return InvalidArgument("a data source has no tokens: give it some text");
  source.shards_ = std::move(shards);
  return source;
}

std::vector<int64_t> TokenSource::ItemEnds() const {
  std::vector<int64_t> ends;
  int64_t before = 0;
  for (size_t s = 0; s < shards_.size(); ++s) {
    for (int64_t item = 0; item < shards_[s]->items(); ++item)
      ends.push_back(before + shards_[s]->item_end(item));
    before = shard_ends_[s];
  }
  return ends;
}

std::vector<int64_t> TokenSource::ItemBytes() const {
  std::vector<int64_t> bytes;
  for (const auto& shard : shards_)
    for (int64_t item = 0; item < shard->items(); ++item) bytes.push_back(shard->item_bytes(item));
  return bytes;
}

std::string TokenSource::digest() const {
  Sha256Stream digest;
  for (const auto& shard : shards_) digest.Add(shard->content_sha256() + "\n");
  return digest.Finish();
}

void TokenSource::Copy(int64_t begin, int64_t count, int32_t* out) const {
  REQUIRE(begin >= 0 && begin < tokens());
  const auto after = std::upper_bound(shard_ends_.begin(), shard_ends_.end(), begin);
  const auto s = static_cast<size_t>(after - shard_ends_.begin());
  const int64_t shard_begin = *after - shards_[s]->tokens();
  shards_[s]->CopyTokens(begin - shard_begin, count, out);
}

void TokenSource::AppendTo(const Segment& segment, Batch& batch) const {
  REQUIRE(segment.count > 0);
  const size_t old = batch.target_ids_T.size();
  const size_t total = old + static_cast<size_t>(segment.count);
  batch.token_ids_T.resize(total);
  batch.target_ids_T.resize(total);
  batch.position_ids_T.resize(total);
  int32_t* tokens = batch.token_ids_T.data() + old;
  int32_t* targets = batch.target_ids_T.data() + old;
  int32_t* positions = batch.position_ids_T.data() + old;
  Copy(segment.begin, segment.count, targets);
  // Items end with the end-of-text token, so the token before an item's first is just that.
  if (segment.begin == 0)
    tokens[0] = first_shard().end_of_text();
  else
    Copy(segment.begin - 1, 1, tokens);
  std::copy(targets, targets + segment.count - 1, tokens + 1);
  std::iota(positions, positions + segment.count, 0);
  if (batch.cu_seqlens.empty()) batch.cu_seqlens.push_back(0);
  batch.cu_seqlens.push_back(static_cast<int32_t>(total));
}

void TokenSource::AppendItem(const Segment& segment, std::span<const int32_t> prefix,
                             std::span<const int32_t> suffix, Batch& batch) const {
  REQUIRE(segment.count > 0);
  const size_t old = batch.token_ids_T.size();
  batch.token_ids_T.insert(batch.token_ids_T.end(), prefix.begin(), prefix.end());
  const size_t text = batch.token_ids_T.size();
  batch.token_ids_T.resize(text + static_cast<size_t>(segment.count));
  Copy(segment.begin, segment.count, batch.token_ids_T.data() + text);
  batch.token_ids_T.insert(batch.token_ids_T.end(), suffix.begin(), suffix.end());
  const size_t total = batch.token_ids_T.size();
  batch.target_ids_T.resize(total, kNoTarget);
  batch.position_ids_T.resize(total);
  std::iota(batch.position_ids_T.begin() + static_cast<int64_t>(old), batch.position_ids_T.end(),
            0);
  if (batch.cu_seqlens.empty()) batch.cu_seqlens.push_back(0);
  batch.cu_seqlens.push_back(static_cast<int32_t>(total));
}

}  // namespace trainyard::worker
