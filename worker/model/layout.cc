#include "worker/model/layout.h"

#include <fmt/format.h>

#include <algorithm>
#include <map>
#include <utility>

#include "common/require.h"

namespace trainyard::worker {
namespace {

// Collects specs in order and gives each its offset.
class LayoutWriter {
 public:
  explicit LayoutWriter(const ModelConfig& config) : config_(config), names_(NamesOf(config)) {}

  void Add(std::string name, std::vector<int64_t> shape, Init init) {
    int64_t count = 1;
    for (const int64_t dim : shape) count *= dim;
    specs_.push_back({.name = std::move(name),
                      .shape = std::move(shape),
                      .init = init,
                      .first = next_,
                      .count = count});
    next_ += count;
  }
  void AddNorm(const std::string& name) {
    Add(name + ".weight", {config_.hidden_size}, Init::kOne);
    if (config_.norm == NormKind::kLayer) Add(name + ".bias", {config_.hidden_size}, Init::kZero);
  }
  // Weights first, then biases, so that neighbours stay neighbours.
  void AddLinears(const std::vector<std::pair<std::string, int64_t>>& out_of_name, int64_t in,
                  Init init) {
    for (const auto& [name, out] : out_of_name) {
      const auto shape = names_.linear_is_in_out ? std::vector{in, out} : std::vector{out, in};
      Add(name + ".weight", shape, init);
      specs_.back().projections = {out};
      specs_.back().is_in_out = names_.linear_is_in_out;
    }
    if (!config_.biases) return;
    for (const auto& [name, out] : out_of_name) Add(name + ".bias", {out}, Init::kZero);
  }
  void AddBlock(int64_t layer);
  // The weight of a linear layer that was just added.
  ParameterSpec& PackedWeight(const std::string& name) {
    ParameterSpec& spec = specs_[specs_.size() - (config_.biases ? 2 : 1)];
    REQUIRE(spec.name == name + ".weight");
    return spec;
  }

  std::vector<ParameterSpec> specs_;

 private:
  const ModelConfig& config_;
  const NameMap& names_;
  int64_t next_ = 0;
};

void LayoutWriter::AddBlock(int64_t layer) {
  const auto in_block = [&](const std::string& name) { return names_.InBlock(layer, name); };
  const int64_t width = config_.hidden_size;
  const int64_t q_width = config_.heads * config_.head_width;
  const int64_t kv_width = config_.kv_heads * config_.head_width;

  AddNorm(in_block(names_.attention_norm));
  if (names_.qkv.size() == 1) {
    AddLinears({{in_block(names_.qkv[0]), q_width + 2 * kv_width}}, width, Init::kNormal);
    PackedWeight(in_block(names_.qkv[0])).projections = {q_width, kv_width, kv_width};
  } else {
    AddLinears({{in_block(names_.qkv[0]), q_width},
                {in_block(names_.qkv[1]), kv_width},
                {in_block(names_.qkv[2]), kv_width}},
               width, Init::kNormal);
  }
  AddLinears({{in_block(names_.attention_out), width}}, q_width, Init::kResidual);

  AddNorm(in_block(names_.mlp_norm));
  std::vector<std::pair<std::string, int64_t>> mlp_in;
  for (const auto& name : names_.mlp_in) mlp_in.emplace_back(in_block(name), config_.mlp_width);
  AddLinears(mlp_in, width, Init::kNormal);
  AddLinears({{in_block(names_.mlp_out), width}}, config_.mlp_width, Init::kResidual);
}

}  // namespace

std::string NameMap::InBlock(int64_t layer, const std::string& name) const {
  return fmt::format(fmt::runtime(block), layer) + "." + name;
}

const NameMap& NamesOf(const ModelConfig& config) {
  static const std::map<std::string, NameMap> kMaps = {
      {"llama",
       {.token_embedding = "model.embed_tokens.weight",
        .position_embedding = "",
        .final_norm = "model.norm",
        .head = "lm_head.weight",
        .block = "model.layers.{}",
        .attention_norm = "input_layernorm",
        .mlp_norm = "post_attention_layernorm",
        .qkv = {"self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj"},
        .attention_out = "self_attn.o_proj",
        .mlp_in = {"mlp.gate_proj", "mlp.up_proj"},
        .mlp_out = "mlp.down_proj"}},
      {"gpt2",
       {.token_embedding = "transformer.wte.weight",
        .position_embedding = "transformer.wpe.weight",
        .final_norm = "transformer.ln_f",
        .head = "lm_head.weight",
        .block = "transformer.h.{}",
        .attention_norm = "ln_1",
        .mlp_norm = "ln_2",
        .qkv = {"attn.c_attn"},
        .attention_out = "attn.c_proj",
        .mlp_in = {"mlp.c_fc"},
        .mlp_out = "mlp.c_proj",
        .linear_is_in_out = true}},
  };
  const auto found = kMaps.find(config.model_type);
  REQUIRE(found != kMaps.end());  // ModelConfigFromJson and Validate let no other type through
  return found->second;
}

std::vector<ParameterSpec> ParameterLayout(const ModelConfig& config) {
  const NameMap& names = NamesOf(config);
  LayoutWriter writer(config);
  writer.Add(names.token_embedding, {config.vocab_size, config.hidden_size}, Init::kNormal);
  if (config.position == PositionKind::kLearned) {
    writer.Add(names.position_embedding, {config.max_positions, config.hidden_size}, Init::kNormal);
  }
  for (int64_t layer = 0; layer < config.layers; ++layer) writer.AddBlock(layer);
  writer.AddNorm(names.final_norm);
  if (!config.tie_embeddings) {
    writer.Add(names.head, {config.vocab_size, config.hidden_size}, Init::kNormal);
  }
  return std::move(writer.specs_);
}

std::vector<LayoutRange> BackwardOrder(const ModelConfig& config,
                                       const std::vector<ParameterSpec>& layout) {
  const NameMap& names = NamesOf(config);
  const auto first_of = [&](const std::string& norm) {
    const auto found = std::find_if(layout.begin(), layout.end(), [&](const ParameterSpec& spec) {
      return spec.name == norm + ".weight";
    });
    REQUIRE(found != layout.end());
    return found->first;
  };
  std::vector<int64_t> firsts = {first_of(names.final_norm)};
  for (int64_t layer = config.layers; layer-- > 0;)
    firsts.push_back(first_of(names.InBlock(layer, names.attention_norm)));
  firsts.push_back(0);
  std::vector<LayoutRange> order;
  int64_t end = layout.back().first + layout.back().count;
  for (const int64_t first : firsts) {
    order.push_back({first, end - first});
    end = first;
  }
  return order;
}

}  // namespace trainyard::worker
