#include "worker/engine/batch_check.h"

#include <string_view>
#include <vector>

namespace trainyard::worker {
namespace {

Status CheckRange(std::string_view field, const std::vector<int32_t>& values, int64_t low,
                  int64_t high) {
  for (size_t i = 0; i < values.size(); ++i) {
    if (values[i] < low || values[i] >= high) {
      return InvalidArgument("{}[{}] = {} is outside [{}, {})", field, i, values[i], low, high);
    }
  }
  return OkStatus();
}

Status CheckItems(const std::vector<int32_t>& cu_seqlens, int64_t tokens) {
  if (cu_seqlens.size() < 2 || cu_seqlens.front() != 0 || cu_seqlens.back() != tokens) {
    return InvalidArgument("cu_seqlens must begin with 0 and end with the {} tokens of the batch",
                           tokens);
  }
  for (size_t i = 1; i < cu_seqlens.size(); ++i) {
    if (cu_seqlens[i] <= cu_seqlens[i - 1]) {
      return InvalidArgument("cu_seqlens[{}] = {} must be above its predecessor {}", i,
                             cu_seqlens[i], cu_seqlens[i - 1]);
    }
  }
  return OkStatus();
}

}  // namespace

Status CheckBatch(const Batch& batch, const ModelConfig& config) {
  const int64_t tokens = batch.tokens();
  if (tokens == 0) return InvalidArgument("the batch has no tokens");
  if (batch.target_ids_T.size() != batch.token_ids_T.size() ||
      batch.position_ids_T.size() != batch.token_ids_T.size()) {
    return InvalidArgument("the batch has {} tokens, {} targets and {} positions; all must agree",
                           tokens, batch.target_ids_T.size(), batch.position_ids_T.size());
  }
  RETURN_IF_ERROR(CheckRange("token_ids", batch.token_ids_T, 0, config.vocab_size));
  RETURN_IF_ERROR(CheckRange("target_ids", batch.target_ids_T, kNoTarget, config.vocab_size));
  RETURN_IF_ERROR(CheckRange("position_ids", batch.position_ids_T, 0, config.max_length()));
  return CheckItems(batch.cu_seqlens, tokens);
}

Status CheckPrompt(const std::vector<int32_t>& prompt, const ModelConfig& config) {
  const auto length = static_cast<int64_t>(prompt.size());
  if (length == 0) return InvalidArgument("the prompt has no tokens; give at least one");
  if (length >= config.max_length()) {
    return InvalidArgument(
        "the prompt has {} tokens, this model holds {} with the answer; "
        "shorten the prompt",
        length, config.max_length());
  }
  return CheckRange("prompt", prompt, 0, config.vocab_size);
}

}  // namespace trainyard::worker
