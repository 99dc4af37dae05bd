#include "worker/checkpoint/gguf_key_rules.h"

#include <algorithm>
#include <optional>

namespace trainyard::worker {
namespace {

using enum GgufKeyRule;

// Sets of architectures.
enum : unsigned {
  kLlama = 1,
  kQwen2 = 2,
  kQwen3 = 4,
  kGemma2 = 8,
  kGemma3 = 16,
  kGpt2 = 32,
  kBert = 64,
  kGemma = kGemma2 | kGemma3,
  kRotary = kLlama | kQwen2 | kQwen3 | kGemma,
  kPlaced = kGpt2 | kBert,
  kAll = kRotary | kPlaced
};

unsigned SetOf(std::string_view architecture) {
  constexpr std::pair<std::string_view, unsigned> kSets[] = {
      {"llama", kLlama},   {"qwen2", kQwen2}, {"qwen3", kQwen3}, {"gemma2", kGemma2},
      {"gemma3", kGemma3}, {"gpt2", kGpt2},   {"bert", kBert}};
  for (const auto& [name, set] : kSets)
    if (name == architecture) return set;
  return 0;
}

// What a neutral value is: a number, or what another key or the model's width says.
enum class Neutral { kNumber, kHeadWidth, kHeads, kHiddenSize, kBase };

struct Row {
  std::string_view key;
  unsigned architectures;
  GgufKeyRule rule;
  Neutral neutral = Neutral::kNumber;
  std::string_view what = {};  // of a key that must be neutral: what the model would have
  double number = 0;           // the neutral one
};

// A key that is passed over, and at `number` without a word.
constexpr Row Unread(std::string_view key, unsigned architectures, double number) {
  return {.key = key, .architectures = architectures, .rule = kUnread, .number = number};
}
constexpr Row MustBeZero(std::string_view key, std::string_view what) {
  return {.key = key, .architectures = kAll, .rule = kNeutral, .what = what};
}

constexpr Row kRows[] = {
    {"context_length", kAll, kUsed},
    {"embedding_length", kAll, kUsed},
    {"block_count", kAll, kUsed},
    {"feed_forward_length", kAll, kUsed},
    {"attention.head_count", kAll, kUsed},
    {"attention.head_count_kv", kRotary, kUsed},
    {"attention.head_count_kv", kPlaced, kNeutral, Neutral::kHeads, "heads that share their keys"},
    {"attention.key_length", kRotary, kUsed},
    {"attention.key_length", kPlaced, kNeutral, Neutral::kHeadWidth, "heads of their own width"},
    {"attention.value_length", kRotary, kUsed},
    {"attention.value_length", kPlaced, kNeutral, Neutral::kHeadWidth, "heads of their own width"},
    {"attention.layer_norm_rms_epsilon", kRotary, kUsed},
    {"attention.layer_norm_epsilon", kPlaced, kUsed},
    {"attention.causal", kAll, kUsed},
    {"attention.sliding_window", kGemma, kUsed},
    {"attention.sliding_window_pattern", kGemma, kUsed},
    {"attn_logit_softcapping", kGemma2, kUsed},
    {"final_logit_softcapping", kGemma, kUsed},
    {"rope.dimension_count", kRotary, kUsed},
    {"rope.freq_base", kRotary, kUsed},
    {"rope.freq_base_swa", kGemma3, kUsed},
    {"rope.freq_base_swa", kGemma2, kNeutral, Neutral::kBase, "two rotary embeddings"},
    {"rope.scale_linear", kRotary, kUsed},
    {"rope.scaling.type", kRotary, kUsed},
    {"rope.scaling.factor", kRotary, kUsed},
    {"rope.scaling.attn_factor", kRotary, kUsed},
    {"rope.scaling.original_context_length", kRotary, kUsed},
    {"attention.key_length_swa", kGemma, kNeutral, Neutral::kHeadWidth, "heads of two widths"},
    {"attention.value_length_swa", kGemma, kNeutral, Neutral::kHeadWidth, "heads of two widths"},
    {"rope.dimension_count_swa", kGemma, kNeutral, Neutral::kHeadWidth, "partly turned heads"},
    {"embedding_length_out", kAll, kNeutral, Neutral::kHiddenSize, "an output of another width"},
    MustBeZero("expert_count", "a mixture of experts"),
    MustBeZero("expert_used_count", "a mixture of experts"),
    MustBeZero("expert_group_count", "a mixture of experts"),
    MustBeZero("nextn_predict_layers", "layers that predict further tokens"),
    {"vocab_size", kAll, kHarmless},                       // the embedding's rows
    {"rope.scaling.finetuned", kAll, kHarmless},           // a word on how it came about
    {"pooling_type", kAll, kHarmless},                     // of embeddings, after the last layer
    {"tensor_data_layout", kAll, kHarmless},               // llama.cpp has only one today
    {"attention.layer_norm_epsilon", kRotary, kHarmless},  // there is no such norm
    {"attention.layer_norm_rms_epsilon", kPlaced, kHarmless},
    {"use_parallel_residual", kAll, kHarmless},  // GPT-NeoX's
    {"rope.dimension_count", kPlaced, kHarmless},
    {"rope.freq_base", kPlaced, kHarmless},
    Unread("rope.scaling.yarn_beta_fast", kRotary, 32),
    Unread("rope.scaling.yarn_beta_slow", kRotary, 1),
    Unread("rope.scaling.yarn_ext_factor", kRotary, 1),
    Unread("rope.scaling.yarn_attn_factor", kRotary, 1),
    Unread("rope.scaling.yarn_log_multiplier", kRotary, 0),
    Unread("rope.scaling.alpha", kAll, 0),
    Unread("attention.sliding_window", kAll & ~kGemma, 0),
    Unread("attention.scale", kAll, 0),
    Unread("attention.max_alibi_bias", kAll, 0),
    Unread("attention.clamp_kqv", kAll, 0),
    Unread("attn_logit_softcapping", kAll & ~kGemma2, 0),
    Unread("final_logit_softcapping", kAll & ~kGemma, 0),
};

const Row* Find(std::string_view architecture, std::string_view key) {
  const unsigned set = SetOf(architecture);
  const auto* found = std::find_if(std::begin(kRows), std::end(kRows), [&](const Row& row) {
    return row.key == key && (row.architectures & set) != 0;
  });
  return found == std::end(kRows) ? nullptr : found;
}

// A scalar as a person writes it; lists by their length.
std::string Spelled(const GgufValue& value) {
  if (const auto* text = std::get_if<std::string>(&value.value)) return fmt::format("{:?}", *text);
  if (const auto* flag = std::get_if<bool>(&value.value)) return *flag ? "true" : "false";
  if (const auto* number = std::get_if<int64_t>(&value.value)) return fmt::format("{}", *number);
  if (const auto* number = std::get_if<uint64_t>(&value.value)) return fmt::format("{}", *number);
  if (const auto* real = std::get_if<double>(&value.value))
    return fmt::format("{}", static_cast<float>(*real));
  return "a list";
}

std::optional<double> NumberOf(const GgufValue& value) {
  if (const auto* number = std::get_if<int64_t>(&value.value)) return static_cast<double>(*number);
  if (const auto* number = std::get_if<uint64_t>(&value.value)) return static_cast<double>(*number);
  if (const auto* real = std::get_if<double>(&value.value)) return *real;
  return std::nullopt;
}

StatusOr<double> NeutralOf(const Row& row, const GgufFields& fields) {
  if (row.neutral == Neutral::kNumber) return row.number;
  if (row.neutral == Neutral::kBase) {
    ASSIGN_OR_RETURN(const double base, fields.Real("rope.freq_base", 10000));
    return static_cast<double>(static_cast<float>(base));
  }
  ASSIGN_OR_RETURN(const int64_t layers, fields.Int("block_count"));
  ASSIGN_OR_RETURN(const int64_t width, fields.Int("embedding_length"));
  ASSIGN_OR_RETURN(const int64_t heads, fields.IntOfLayers("attention.head_count", layers));
  if (row.neutral == Neutral::kHiddenSize) return static_cast<double>(width);
  if (row.neutral == Neutral::kHeads) return static_cast<double>(heads);
  if (heads < 1) return InvalidArgument("{} must be above 0", fields.Whole("attention.head_count"));
  // A key of head widths is not measured by itself.
  if ((row.architectures & kPlaced) != 0) return static_cast<double>(width / heads);
  ASSIGN_OR_RETURN(const int64_t head_width, fields.Int("attention.key_length", width / heads));
  return static_cast<double>(head_width);
}

// Lists of one number a layer count as their numbers.
bool IsNeutral(const GgufValue& value, double neutral) {
  if (const auto number = NumberOf(value)) return *number == neutral;
  const auto* list = std::get_if<GgufList>(&value.value);
  if (list == nullptr) return false;
  const auto all = [&](const auto& items) {
    return std::all_of(items.begin(), items.end(),
                       [&](auto item) { return static_cast<double>(item) == neutral; });
  };
  if (const auto* items = std::get_if<std::vector<int64_t>>(&list->items)) return all(*items);
  if (const auto* items = std::get_if<std::vector<uint64_t>>(&list->items)) return all(*items);
  return false;
}

}  // namespace

GgufKeyRule RuleOfGgufKey(std::string_view architecture, std::string_view key) {
  const Row* row = Find(architecture, key);
  return row == nullptr ? kUnread : row->rule;
}

StatusOr<std::vector<std::string>> CheckGgufKeys(const GgufMetadata& metadata,
                                                 const GgufFields& fields) {
  std::vector<std::string> notes;
  const std::string prefix = fields.architecture() + ".";
  for (const auto& [whole, value] : metadata.values) {
    if (!whole.starts_with(prefix)) continue;
    const Row* row = Find(fields.architecture(), std::string_view(whole).substr(prefix.size()));
    if (row != nullptr && (row->rule == kUsed || row->rule == kHarmless)) continue;
    if (row != nullptr) {
      ASSIGN_OR_RETURN(const double neutral, NeutralOf(*row, fields));
      if (IsNeutral(value, neutral)) continue;
      if (row->rule == kNeutral)
        return Unimplemented("{} is {}, so the model has {}, which is not supported; only {} is",
                             whole, Spelled(value), row->what, neutral);
    }
    notes.push_back(
        fmt::format("{} = {} is not used, as llama.cpp does not use it for the architecture {}",
                    whole, Spelled(value), fields.architecture()));
  }
  return notes;
}

}  // namespace trainyard::worker
