#include "worker/model/transformer.h"

#include <numeric>
#include <string>
#include <unordered_map>
#include <utility>

#include "common/require.h"
#include "worker/ops/embedding.h"

namespace trainyard::worker {
namespace {

// Makes views of the flat buffers by name.
class Binder {
 public:
  Binder(const ModelConfig& config, const std::vector<ParameterSpec>& layout, const Tensor& weights,
         const Tensor& gradients)
      : config_(config), weights_(weights), gradients_(gradients) {
    for (const ParameterSpec& spec : layout) spec_of_name_[spec.name] = spec;
  }

  Parameter Bind(const std::string& name) const {
    const ParameterSpec& spec = At(name);
    return View(spec.first, spec.count, spec.shape);
  }
  Norm BindNorm(const std::string& name) const {
    Norm norm{.kind = config_.norm,
              .epsilon = config_.norm_epsilon,
              .weight_D = Bind(name + ".weight"),
              .bias_D = {}};
    if (norm.kind == NormKind::kLayer) norm.bias_D = Bind(name + ".bias");
    return norm;
  }
  // One linear layer out of neighbours that share their input.
  Linear BindLinear(const std::vector<std::string>& names, bool is_in_out) const {
    Linear linear;
    linear.weight_OI = BindRows(names, ".weight");
    if (is_in_out) {
      REQUIRE(names.size() == 1);  // columns of neighbours would not be one matrix
      linear.weight_OI.value = linear.weight_OI.value.t();
      linear.weight_OI.gradient = linear.weight_OI.gradient.t();
    }
    if (config_.biases) linear.bias_O = BindRows(names, ".bias");
    return linear;
  }

 private:
  const ParameterSpec& At(const std::string& name) const {
    const auto found = spec_of_name_.find(name);
    REQUIRE(found != spec_of_name_.end());
    return found->second;
  }
  Parameter View(int64_t first, int64_t count, const std::vector<int64_t>& shape) const {
    return {.value = weights_.narrow(0, first, count).view(shape),
            .gradient = gradients_.narrow(0, first, count).view(shape)};
  }
  Parameter BindRows(const std::vector<std::string>& names, const std::string& suffix) const {
    const ParameterSpec& head = At(names[0] + suffix);
    std::vector<int64_t> shape = head.shape;
    int64_t count = head.count;
    for (size_t i = 1; i < names.size(); ++i) {
      const ParameterSpec& next = At(names[i] + suffix);
      REQUIRE(next.first == head.first + count);  // ParameterLayout keeps them neighbours
      shape[0] += next.shape[0];
      count += next.count;
    }
    return View(head.first, count, shape);
  }

  const ModelConfig& config_;
  const Tensor weights_;
  const Tensor gradients_;
  std::unordered_map<std::string, ParameterSpec> spec_of_name_;
};

Block BindBlock(const Binder& binder, const ModelConfig& config, int64_t layer) {
  const NameMap& names = NamesOf(config);
  const auto full = [&](std::vector<std::string> in_block) {
    for (std::string& name : in_block) name = names.InBlock(layer, name);
    return in_block;
  };
  const bool is_in_out = names.linear_is_in_out;
  Block block;
  block.shape = {.heads = config.heads, .kv_heads = config.kv_heads, .width = config.head_width};
  block.position = config.position;
  block.mlp = config.mlp;
  block.attention_norm = binder.BindNorm(names.InBlock(layer, names.attention_norm));
  block.mlp_norm = binder.BindNorm(names.InBlock(layer, names.mlp_norm));
  block.qkv = binder.BindLinear(full(names.qkv), is_in_out);
  block.attention_out = binder.BindLinear(full({names.attention_out}), is_in_out);
  block.mlp_in = binder.BindLinear(full(names.mlp_in), is_in_out);
  block.mlp_out = binder.BindLinear(full({names.mlp_out}), is_in_out);
  return block;
}

Tensor ToInt64(std::span<const int32_t> values, at::Device device) {
  Tensor out = at::empty({static_cast<int64_t>(values.size())}, at::kLong);
  std::copy(values.begin(), values.end(), out.mutable_data_ptr<int64_t>());
  return ToDevice(out, device);
}

}  // namespace

Transformer::Transformer(const ModelConfig& config, const std::vector<ParameterSpec>& layout,
                         const Tensor& weights, const Tensor& gradients, plan::Recompute recompute)
    : config_(config) {
  const NameMap& names = NamesOf(config);
  const Binder binder(config, layout, weights, gradients);
  token_embedding_VD_ = binder.Bind(names.token_embedding);
  if (config.position == PositionKind::kLearned) {
    position_embedding_PD_ = binder.Bind(names.position_embedding);
  } else {
    rope_ = MakeRopeTable(config.max_positions, config.head_width, config.rope_theta,
                          weights.scalar_type(), weights.device());
  }
  for (int64_t layer = 0; layer < config.layers; ++layer) {
    blocks_.push_back(BindBlock(binder, config, layer));
    blocks_.back().recompute = recompute;
  }
  final_norm_ = binder.BindNorm(names.final_norm);
  head_VD_ = config.tie_embeddings ? token_embedding_VD_ : binder.Bind(names.head);
}

Tensor Transformer::Embed(const Tensor& token_ids_T, const Tensor& position_ids_T) const {
  Tensor x_TD = EmbeddingForward(token_embedding_VD_.value, token_ids_T);
  if (config_.position == PositionKind::kLearned) {
    x_TD.add_(EmbeddingForward(position_embedding_PD_.value, position_ids_T));
  }
  return x_TD;
}

Places Transformer::PlacesOf(const Tensor& position_ids_T, std::vector<int32_t> cu_seqlens) const {
  Places places{.cu_seqlens = std::move(cu_seqlens), .rope = {}};
  if (config_.position == PositionKind::kRope) {
    places.rope = {.cos_PH = rope_.cos_PH.index_select(0, position_ids_T),
                   .sin_PH = rope_.sin_PH.index_select(0, position_ids_T)};
  }
  return places;
}

Tensor Transformer::Forward(const Batch& batch, Activations* saved) const {
  Activations local;
  Activations& keep = saved != nullptr ? *saved : local;
  keep.token_ids_T = ToInt64(batch.token_ids_T, device());
  keep.position_ids_T = ToInt64(batch.position_ids_T, device());
  keep.places = PlacesOf(keep.position_ids_T, batch.cu_seqlens);
  keep.blocks.resize(blocks_.size());

  Tensor x_TD = Embed(keep.token_ids_T, keep.position_ids_T);
  for (size_t i = 0; i < blocks_.size(); ++i) {
    x_TD = blocks_[i].Forward(x_TD, keep.places, keep.blocks[i]);
    if (saved == nullptr) keep.blocks[i] = {};
  }
  keep.last_TD = x_TD;
  return final_norm_.Forward(x_TD, keep.final_norm);
}

void Transformer::Backward(const Tensor& dhidden_TD, Activations& saved,
                           const RangesFinished& finished) const {
  const auto tell = [&](size_t ranges) {
    if (finished) finished(ranges);
  };
  Tensor dx_TD = final_norm_.Backward(dhidden_TD, saved.last_TD, saved.final_norm);
  tell(1);
  for (size_t i = blocks_.size(); i-- > 0;) {
    dx_TD = blocks_[i].Backward(dx_TD, saved.places, saved.blocks[i]);
    saved.blocks[i] = {};
    tell(1 + blocks_.size() - i);
  }
  EmbeddingBackward(dx_TD, saved.token_ids_T, token_embedding_VD_.gradient);
  if (config_.position == PositionKind::kLearned) {
    EmbeddingBackward(dx_TD, saved.position_ids_T, position_embedding_PD_.gradient);
  }
  tell(2 + blocks_.size());
}

KvCache Transformer::NewCache(int64_t capacity) const {
  KvCache cache{.layers = {}, .length = 0, .capacity = capacity};
  const auto options = token_embedding_VD_.value.options();
  for (size_t i = 0; i < blocks_.size(); ++i) {
    const std::vector<int64_t> shape{capacity, config_.kv_heads, config_.head_width};
    cache.layers.push_back({at::empty(shape, options), at::empty(shape, options)});
  }
  return cache;
}

Tensor Transformer::Decode(std::span<const int32_t> tokens, KvCache& cache) const {
  const auto added = static_cast<int64_t>(tokens.size());
  REQUIRE(cache.length + added <= cache.capacity);
  const Tensor position_ids_T =
      at::arange(cache.length, cache.length + added, at::TensorOptions(at::kLong).device(device()));
  const Places places = PlacesOf(position_ids_T, {});
  Tensor x_TD = Embed(ToInt64(tokens, device()), position_ids_T);
  for (size_t i = 0; i < blocks_.size(); ++i) {
    x_TD = blocks_[i].Decode(x_TD, places, cache.length, cache.layers[i]);
  }
  cache.length += added;
  NormSaved unused;
  return final_norm_.Forward(x_TD, unused);
}

}  // namespace trainyard::worker
