#include "worker/model/transformer.h"

#include <algorithm>
#include <cmath>
#include <string>
#include <unordered_map>
#include <utility>

#include "common/require.h"
#include "worker/ops/embedding.h"

namespace trainyard::worker {
namespace {

// Rows of a rope table that are kept; later places' are made when they come.
constexpr int64_t kRopeRowsMax = 16384;

// Makes views of the flat buffers by name.
class Binder {
 public:
  Binder(const ModelConfig& config, const std::vector<ParameterSpec>& layout, const Tensor& weights,
         const Tensor& gradients)
      : config_(config), family_(config.family()), weights_(weights), gradients_(gradients) {
    for (const ParameterSpec& spec : layout) spec_of_name_[spec.name] = spec;
  }

  // Undefined where the family has none.
  Parameter Bind(const std::string& name) const {
    if (name.empty()) return {};
    const ParameterSpec& spec = At(name);
    return View(spec.first, spec.count, spec.shape);
  }
  Norm BindNorm(const std::string& name) const {
    Norm norm{.kind = family_.norm,
              .epsilon = config_.norm_epsilon,
              .offset = family_.norm_offset,
              .weight_D = {},
              .bias_D = {}};
    if (name.empty()) return norm;
    norm.weight_D = Bind(name + ".weight");
    if (norm.kind == NormKind::kLayer) norm.bias_D = Bind(name + ".bias");
    return norm;
  }
  // One linear layer out of neighbours that share their input.
  Linear BindLinear(const std::vector<std::string>& names, bool bias) const {
    Linear linear;
    linear.weight_OI = BindRows(names, ".weight");
    if (family_.names.linear_is_in_out) {
      REQUIRE(names.size() == 1);  // columns of neighbours would not be one matrix
      linear.weight_OI.value = linear.weight_OI.value.t();
      linear.weight_OI.gradient = linear.weight_OI.gradient.t();
    }
    if (bias) linear.bias_O = BindRows(names, ".bias");
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
  const Family& family_;
  const Tensor weights_;
  const Tensor gradients_;
  std::unordered_map<std::string, ParameterSpec> spec_of_name_;
};

AttentionShape AttentionOf(const ModelConfig& config, int64_t layer) {
  double scale = config.query_scale == 0 ? 0 : 1.0 / std::sqrt(config.query_scale);
  if (config.scale_by_layer) {
    if (scale == 0) scale = std::pow(config.head_width, -0.5);
    scale /= static_cast<double>(layer + 1);
  }
  return {.heads = config.heads,
          .kv_heads = config.kv_heads,
          .width = config.head_width,
          .causal = config.is_causal(),
          .window = config.attention_of(layer).window,
          .scale = scale,
          .softcap = config.attention_softcap};
}

Block BindBlock(const Binder& binder, const ModelConfig& config, int64_t layer) {
  const Family& family = config.family();
  const NameMap& names = family.names;
  const auto full = [&](std::vector<std::string> in_block) {
    for (std::string& name : in_block) name = names.InBlock(layer, name);
    return in_block;
  };
  const auto norm = [&](const std::string& name) {
    return binder.BindNorm(name.empty() ? name : names.InBlock(layer, name));
  };
  Block block;
  block.shape = AttentionOf(config, layer);
  block.position = family.position;
  block.local_rope = config.attention_of(layer).is_local;
  block.mlp = family.mlp;
  block.attention_norms = {.place = family.norm_place,
                           .before = norm(names.attention_norm),
                           .after = norm(names.attention_after_norm)};
  block.mlp_norms = {.place = family.norm_place,
                     .before = norm(names.mlp_norm),
                     .after = norm(names.mlp_after_norm)};
  block.query_key_norm = family.query_key_norm;
  block.query_norm_H = norm(names.query_norm);
  block.key_norm_H = norm(names.key_norm);
  block.qkv = binder.BindLinear(full(names.qkv), config.qkv_bias);
  block.attention_out = binder.BindLinear(full({names.attention_out}), config.attention_out_bias);
  block.mlp_in = binder.BindLinear(full(names.mlp_in), config.mlp_bias);
  block.mlp_out = binder.BindLinear(full({names.mlp_out}), config.mlp_bias);
  return block;
}

PredictionHead BindHead(const Binder& binder, const ModelConfig& config,
                        const Parameter& token_embedding_VD) {
  PredictionHead head;
  if (!config.has_head) return head;
  const NameMap& names = config.family().names;
  head.kind = config.family().head;
  head.softcap = config.logit_softcap;
  head.weight_VD = config.tie_embeddings ? token_embedding_VD : binder.Bind(names.head);
  if (head.kind == HeadKind::kMasked) {
    head.dense = binder.BindLinear({names.head_dense}, /*bias=*/true);
    head.norm = binder.BindNorm(names.head_norm);
    head.bias_V = binder.Bind(names.head_bias);
  }
  return head;
}

RopeAngles AnglesOf(const RopeConfig& rope, int64_t width, at::ScalarType type) {
  RopeAngles angles{.frequencies = {}, .factor = 1};
  if (rope.kind == RopeKind::kYarn) angles.factor = rope.attention_factor;
  if (WideType(type) == at::kDouble) {
    angles.frequencies = RopeFrequencies<double>(rope, width);
  } else {
    const std::vector<float> rounded = RopeFrequencies<float>(rope, width);
    angles.frequencies.assign(rounded.begin(), rounded.end());
  }
  return angles;
}

Tensor ToInt64(std::span<const int32_t> values, at::Device device) {
  Tensor out = at::empty({static_cast<int64_t>(values.size())}, at::kLong);
  std::copy(values.begin(), values.end(), out.mutable_data_ptr<int64_t>());
  return ToDevice(out, device);
}
Tensor ToInt64(const std::vector<int64_t>& values, at::Device device) {
  return ToDevice(at::tensor(values, at::kLong), device);
}

}  // namespace

Transformer::Transformer(const ModelConfig& config, const std::vector<ParameterSpec>& layout,
                         const Tensor& weights, const Tensor& gradients, plan::Recompute recompute)
    : config_(config) {
  const Family& family = config.family();
  const NameMap& names = family.names;
  const Binder binder(config, layout, weights, gradients);
  embeddings_ = {
      .token_VD = binder.Bind(names.token_embedding),
      .position_PD = binder.Bind(names.position_embedding),
      .type_YD = binder.Bind(names.type_embedding),
      .norm = binder.BindNorm(names.embedding_norm),
      .scale = family.scales_embeddings ? std::sqrt(static_cast<double>(config.hidden_size)) : 1.0};
  if (family.position == PositionKind::kRope) {
    const auto rope_of = [&](const RopeConfig& rope) {
      const RopeAngles angles = AnglesOf(rope, config.head_width, weights.scalar_type());
      return Rope{.angles = angles,
                  .table = MakeRopeTable(std::min(config.max_positions, kRopeRowsMax), angles,
                                         weights.scalar_type(), weights.device())};
    };
    rope_ = rope_of(config.rope);
    if (config.has_local_rope()) local_rope_ = rope_of(config.local_rope);
  }
  for (int64_t layer = 0; layer < config.layers; ++layer) {
    blocks_.push_back(BindBlock(binder, config, layer));
    blocks_.back().recompute = recompute;
  }
  final_norm_ = binder.BindNorm(names.final_norm);
  head_ = BindHead(binder, config, embeddings_.token_VD);
}

RopeTable Transformer::RopeRows(const Rope& rope,
                                const std::vector<int64_t>& position_ids_T) const {
  if (rope.angles.frequencies.empty()) return {};
  const int64_t last = *std::max_element(position_ids_T.begin(), position_ids_T.end());
  if (last >= rope.table.cos_PH.size(0)) {
    return MakeRopeRows(position_ids_T, rope.angles, embeddings_.token_VD.value.scalar_type(),
                        device());
  }
  const Tensor rows = ToInt64(position_ids_T, device());
  return {.cos_PH = rope.table.cos_PH.index_select(0, rows),
          .sin_PH = rope.table.sin_PH.index_select(0, rows)};
}

Places Transformer::PlacesOf(const std::vector<int64_t>& position_ids_T,
                             std::vector<int32_t> cu_seqlens) const {
  return {.cu_seqlens = std::move(cu_seqlens),
          .rope = RopeRows(rope_, position_ids_T),
          .local_rope = RopeRows(local_rope_, position_ids_T)};
}

Tensor Transformer::Embed(Activations& keep) const {
  Tensor x_TD = EmbeddingForward(embeddings_.token_VD.value, keep.token_ids_T);
  if (embeddings_.scale != 1) x_TD.mul_(embeddings_.scale);
  if (embeddings_.type_YD.value.defined()) x_TD.add_(embeddings_.type_YD.value[0]);
  if (embeddings_.position_PD.value.defined()) {
    x_TD.add_(EmbeddingForward(embeddings_.position_PD.value, keep.position_ids_T));
  }
  if (!embeddings_.norm.weight_D.value.defined()) return x_TD;
  keep.embedded_TD = x_TD;
  return embeddings_.norm.Forward(x_TD, keep.embedding_norm);
}

void Transformer::EmbedBackward(Tensor dx_TD, const Activations& saved) const {
  if (embeddings_.norm.weight_D.value.defined()) {
    dx_TD = embeddings_.norm.Backward(dx_TD, saved.embedded_TD, saved.embedding_norm);
  }
  if (embeddings_.position_PD.value.defined()) {
    EmbeddingBackward(dx_TD, saved.position_ids_T, embeddings_.position_PD.gradient);
  }
  if (embeddings_.type_YD.value.defined()) {
    Tensor dtype_D = embeddings_.type_YD.gradient[0];
    dtype_D.add_(at::sum(dx_TD, {0}, /*keepdim=*/false, dtype_D.scalar_type()));
  }
  if (embeddings_.scale != 1) dx_TD = dx_TD * embeddings_.scale;
  EmbeddingBackward(dx_TD, saved.token_ids_T, embeddings_.token_VD.gradient);
}

// RoBERTa's places count the tokens that are no pads; a pad's place is the one before the first.
std::vector<int64_t> Transformer::PlacesAfterPads(const Batch& batch) const {
  std::vector<int64_t> position_ids_T(batch.token_ids_T.size());
  for (size_t item = 0; item + 1 < batch.cu_seqlens.size(); ++item) {
    int64_t next = config_.first_position;
    for (int32_t t = batch.cu_seqlens[item]; t < batch.cu_seqlens[item + 1]; ++t) {
      const auto i = static_cast<size_t>(t);
      position_ids_T[i] = batch.token_ids_T[i] == config_.pad_id ? config_.pad_id : next++;
    }
  }
  return position_ids_T;
}

Tensor Transformer::Forward(const Batch& batch, Activations* saved) const {
  Activations local;
  Activations& keep = saved != nullptr ? *saved : local;
  keep.token_ids_T = ToInt64(batch.token_ids_T, device());
  const std::vector<int64_t> position_ids_T =
      config_.family().positions_after_pad
          ? PlacesAfterPads(batch)
          : std::vector<int64_t>(batch.position_ids_T.begin(), batch.position_ids_T.end());
  keep.position_ids_T = ToInt64(position_ids_T, device());
  keep.places = PlacesOf(position_ids_T, batch.cu_seqlens);
  keep.blocks.resize(blocks_.size());

  Tensor x_TD = Embed(keep);
  for (size_t i = 0; i < blocks_.size(); ++i) {
    x_TD = blocks_[i].Forward(x_TD, keep.places, keep.blocks[i]);
    if (saved == nullptr) keep.blocks[i] = {};
  }
  if (!final_norm_.weight_D.value.defined()) return x_TD;
  keep.last_TD = x_TD;
  return final_norm_.Forward(x_TD, keep.final_norm);
}

void Transformer::Backward(const Tensor& dhidden_TD, Activations& saved,
                           const RangesFinished& finished) const {
  const auto tell = [&](size_t ranges) {
    if (finished) finished(ranges);
  };
  Tensor dx_TD = dhidden_TD;
  if (final_norm_.weight_D.value.defined()) {
    dx_TD = final_norm_.Backward(dhidden_TD, saved.last_TD, saved.final_norm);
  }
  tell(1);
  for (size_t i = blocks_.size(); i-- > 0;) {
    dx_TD = blocks_[i].Backward(dx_TD, saved.places, saved.blocks[i]);
    saved.blocks[i] = {};
    tell(1 + blocks_.size() - i);
  }
  EmbedBackward(std::move(dx_TD), saved);
  tell(2 + blocks_.size());
}

// -------------------------------------------------------------------------------------- decoding

KvCache Transformer::NewCache(int64_t capacity) const {
  KvCache cache{.layers = {}, .length = 0, .capacity = capacity};
  const auto options = embeddings_.token_VD.value.options();
  for (size_t i = 0; i < blocks_.size(); ++i) {
    const std::vector<int64_t> shape{capacity, config_.kv_heads, config_.head_width};
    cache.layers.push_back({at::empty(shape, options), at::empty(shape, options)});
  }
  return cache;
}

void KvCache::TakeFirst(int64_t count, const KvCache& other) {
  REQUIRE(length == 0 && count <= capacity && count <= other.length);
  for (size_t i = 0; i < layers.size(); ++i) {
    layers[i].keys_PKH.narrow(0, 0, count).copy_(other.layers[i].keys_PKH.narrow(0, 0, count));
    layers[i].values_PKH.narrow(0, 0, count).copy_(other.layers[i].values_PKH.narrow(0, 0, count));
  }
  length = count;
}

Tensor Transformer::AttendTo(size_t layer, std::span<const Continuation> items,
                             const Tensor& qkv_TE) const {
  std::vector<CachedItem> cached;
  for (const Continuation& item : items) {
    cached.push_back({.added = std::ssize(item.tokens),
                      .length = item.cache->length,
                      .cache = &item.cache->layers[layer]});
  }
  return AttentionDecode(qkv_TE, cached, blocks_[layer].shape);
}

Tensor Transformer::Decode(std::span<const Continuation> items) const {
  REQUIRE(config_.family().causal);
  std::vector<int64_t> position_ids_T, last_I;
  std::vector<int32_t> token_ids_T;
  for (const Continuation& item : items) {
    REQUIRE(!item.tokens.empty() &&
            item.cache->length + std::ssize(item.tokens) <= item.cache->capacity);
    for (int64_t i = 0; i < std::ssize(item.tokens); ++i) {
      position_ids_T.push_back(config_.first_position + item.cache->length + i);
    }
    token_ids_T.insert(token_ids_T.end(), item.tokens.begin(), item.tokens.end());
    last_I.push_back(std::ssize(token_ids_T) - 1);
  }
  Activations unused;
  unused.token_ids_T = ToInt64(token_ids_T, device());
  unused.position_ids_T = ToInt64(position_ids_T, device());
  const Places places = PlacesOf(position_ids_T, {});
  Tensor x_TD = Embed(unused);
  for (size_t i = 0; i < blocks_.size(); ++i) {
    x_TD = blocks_[i].Decode(x_TD, places,
                             [&](const Tensor& qkv_TE) { return AttendTo(i, items, qkv_TE); });
  }
  for (const Continuation& item : items) item.cache->length += std::ssize(item.tokens);
  if (last_I.size() < token_ids_T.size()) {
    x_TD = x_TD.index_select(0, ToInt64(last_I, device()));
  }
  NormSaved statistics;
  return final_norm_.weight_D.value.defined() ? final_norm_.Forward(x_TD, statistics) : x_TD;
}

}  // namespace trainyard::worker
