// A family is a row of choices and of Hugging Face's names for its fields and tensors, not a
// subclass: the one table that job files, plans and trainers ask. A new one costs a row here, a map
// of names, and a recording under tests/golden.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "common/status.h"

namespace trainyard {

enum class NormKind { kRms, kLayer };
// Of each half F of a block. kBefore: x + F(N(x)); kAround: x + N'(F(N(x))); kAfter: N(x + F(x)).
enum class NormPlace { kBefore, kAround, kAfter };
enum class PositionKind { kRope, kLearned };
enum class MlpKind { kSwiGlu, kGeGluTanh, kGeluTanh, kGelu };
// kMasked: a linear layer, GELU and a norm stand before the logits, which have a bias.
enum class HeadKind { kCausal, kMasked };
enum class Bias { kNone, kAll, kByKey };  // kByKey: config.json says

// Names of tensors. "{}" in `block` is the layer's number; names of a block's parts follow it.
// Empty: the family has none. Norms and linear layers are named without ".weight" and ".bias".
struct NameMap {
  std::string base = {};  // the prefix that files of the bare model leave out
  std::string token_embedding = {}, position_embedding = {}, type_embedding = {},
              embedding_norm = {};
  std::string final_norm = {}, head = {};
  std::string head_dense = {}, head_norm = {}, head_bias = {};
  std::string block = {};
  std::string attention_norm = {}, attention_after_norm = {}, mlp_norm = {}, mlp_after_norm = {};
  std::vector<std::string> qkv = {};  // one tensor that packs all three, or three
  std::string query_norm = {}, key_norm = {};
  std::string attention_out = {};
  std::vector<std::string> mlp_in = {};  // gate and up, or one
  std::string mlp_out = {};
  bool linear_is_in_out = false;  // GPT-2's Conv1D stores [in, out]

  std::string InBlock(int64_t layer, const std::string& name) const;
};

// What config.json calls a field.
struct ConfigKeys {
  std::string hidden_size = "hidden_size";
  std::string layers = "num_hidden_layers";
  std::string heads = "num_attention_heads";
  std::string mlp_width = "intermediate_size";
  std::string max_positions = "max_position_embeddings";
  std::string norm_epsilon = "rms_norm_eps";  // empty: it is not written, and is the default
  std::string activation = "hidden_act";
  // Other names that transformers reads: each, and whose place it takes.
  std::vector<std::pair<std::string, std::string>> aliases = {};
};

// What a field is that config.json leaves out: what the family's config class in transformers has.
struct ConfigDefaults {
  int64_t vocab_size = 32000;
  int64_t hidden_size = 4096;
  int64_t layers = 32;
  int64_t heads = 32;
  int64_t kv_heads = 0;   // 0: heads
  int64_t mlp_width = 0;  // 0: 4 hidden_size
  int64_t max_positions = 2048;
  double norm_epsilon = 1e-6;
  int64_t head_width = 0;  // 0: hidden_size / heads
  bool tie_embeddings = false;
  int64_t sliding_window = 0;                     // 0: none
  int32_t bos_id = -1, eos_id = -1, pad_id = -1;  // -1: none
};

struct Family {
  std::string model_type;
  std::string architecture;  // transformers' class of the whole model
  NormKind norm = NormKind::kRms;
  NormPlace norm_place = NormPlace::kBefore;
  double norm_offset = 0;  // added to norms' weights: Gemma stores them less 1
  PositionKind position = PositionKind::kRope;
  MlpKind mlp = MlpKind::kSwiGlu;
  HeadKind head = HeadKind::kCausal;
  Bias qkv_bias = Bias::kNone, attention_out_bias = Bias::kNone, mlp_bias = Bias::kNone;
  bool causal = true;
  bool query_key_norm = false;
  bool scales_embeddings = false;             // by sqrt(hidden_size)
  bool positions_after_pad = false;           // RoBERTa's places begin after pad_token_id
  std::vector<std::string> activations = {};  // the names of its activation; the first is written
  ConfigKeys keys = {};
  ConfigDefaults defaults = {};
  NameMap names = {};

  bool gated() const { return mlp == MlpKind::kSwiGlu || mlp == MlpKind::kGeGluTanh; }
};

const std::vector<Family>& Families();
// InvalidArgument for an unknown model_type, naming those that are known. The pointer lives as long
// as the program.
StatusOr<const Family*> FindFamily(std::string_view model_type);
// "llama, mistral": the model_types of all, or of those that see only what is before a token
// (`causal`), or of those that see what is around it.
std::string FamilyNames();
std::string FamilyNames(bool causal);

}  // namespace trainyard
