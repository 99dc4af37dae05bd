#include "common/model/layout.h"

#include <algorithm>
#include <utility>

#include "common/require.h"

namespace trainyard {
namespace {

// Collects specs in order and gives each its offset.
class LayoutWriter {
 public:
  explicit LayoutWriter(const ModelConfig& config)
      : config_(config), family_(config.family()), names_(family_.names) {}

  std::vector<ParameterSpec> Write() {
    AddEmbeddings();
    for (int64_t layer = 0; layer < config_.layers; ++layer) AddBlock(layer);
    AddNorm(names_.final_norm, config_.hidden_size);
    if (config_.has_head) AddHead();
    return std::move(specs_);
  }

 private:
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
  // None where the family has no such norm.
  void AddNorm(const std::string& name, int64_t width) {
    if (name.empty()) return;
    Add(name + ".weight", {width}, family_.norm_offset == 0 ? Init::kOne : Init::kZero);
    if (family_.norm == NormKind::kLayer) Add(name + ".bias", {width}, Init::kZero);
  }
  // `projections`: the output widths that each of them packs. Weights first, then biases, so that
  // neighbours stay neighbours.
  struct NamedLinear {
    std::string name;
    std::vector<int64_t> projections;
  };
  void AddLinears(const std::vector<NamedLinear>& linears, int64_t in, bool bias, Init init) {
    const auto out_of = [](const NamedLinear& linear) {
      int64_t out = 0;
      for (const int64_t width : linear.projections) out += width;
      return out;
    };
    for (const NamedLinear& linear : linears) {
      const int64_t out = out_of(linear);
      Add(linear.name + ".weight",
          names_.linear_is_in_out ? std::vector{in, out} : std::vector{out, in}, init);
      specs_.back().projections = linear.projections;
      specs_.back().is_in_out = names_.linear_is_in_out;
    }
    if (!bias) return;
    for (const NamedLinear& linear : linears) {
      Add(linear.name + ".bias", {out_of(linear)}, Init::kZero);
    }
  }
  void AddEmbeddings();
  void AddBlock(int64_t layer);
  void AddHead();

  const ModelConfig& config_;
  const Family& family_;
  const NameMap& names_;
  std::vector<ParameterSpec> specs_;
  int64_t next_ = 0;
};

void LayoutWriter::AddEmbeddings() {
  Add(names_.token_embedding, {config_.vocab_size, config_.hidden_size}, Init::kNormal);
  if (family_.position == PositionKind::kLearned) {
    Add(names_.position_embedding, {config_.max_positions, config_.hidden_size}, Init::kNormal);
  }
  if (!names_.type_embedding.empty()) {
    Add(names_.type_embedding, {config_.type_vocab_size, config_.hidden_size}, Init::kNormal);
  }
  AddNorm(names_.embedding_norm, config_.hidden_size);
}

void LayoutWriter::AddBlock(int64_t layer) {
  const auto in_block = [&](const std::string& name) {
    return name.empty() ? name : names_.InBlock(layer, name);
  };
  const int64_t width = config_.hidden_size;
  const int64_t query = config_.query_width(), kv = config_.kv_width();

  AddNorm(in_block(names_.attention_norm), width);
  std::vector<NamedLinear> qkv = {{in_block(names_.qkv[0]), {query, kv, kv}}};
  if (names_.qkv.size() == 3) {
    qkv = {{in_block(names_.qkv[0]), {query}},
           {in_block(names_.qkv[1]), {kv}},
           {in_block(names_.qkv[2]), {kv}}};
  }
  AddLinears(qkv, width, config_.qkv_bias, Init::kNormal);
  if (family_.query_key_norm) {
    AddNorm(in_block(names_.query_norm), config_.head_width);
    AddNorm(in_block(names_.key_norm), config_.head_width);
  }
  AddLinears({{in_block(names_.attention_out), {width}}}, query, config_.attention_out_bias,
             Init::kResidual);
  AddNorm(in_block(names_.attention_after_norm), width);

  AddNorm(in_block(names_.mlp_norm), width);
  std::vector<NamedLinear> mlp_in;
  for (const auto& name : names_.mlp_in) mlp_in.push_back({in_block(name), {config_.mlp_width}});
  AddLinears(mlp_in, width, config_.mlp_bias, Init::kNormal);
  AddLinears({{in_block(names_.mlp_out), {width}}}, config_.mlp_width, config_.mlp_bias,
             Init::kResidual);
  AddNorm(in_block(names_.mlp_after_norm), width);
}

void LayoutWriter::AddHead() {
  if (family_.head == HeadKind::kMasked) {
    AddLinears({{names_.head_dense, {config_.hidden_size}}}, config_.hidden_size, /*bias=*/true,
               Init::kNormal);
    AddNorm(names_.head_norm, config_.hidden_size);
  }
  if (!config_.tie_embeddings) {
    Add(names_.head, {config_.vocab_size, config_.hidden_size}, Init::kNormal);
  }
  if (family_.head == HeadKind::kMasked) Add(names_.head_bias, {config_.vocab_size}, Init::kZero);
}

}  // namespace

const NameMap& NamesOf(const ModelConfig& config) { return config.family().names; }

std::vector<ParameterSpec> ParameterLayout(const ModelConfig& config) {
  return LayoutWriter(config).Write();
}

std::vector<LayoutRange> BackwardOrder(const ModelConfig& config,
                                       const std::vector<ParameterSpec>& layout) {
  const NameMap& names = NamesOf(config);
  // The first tensor of each block, and of what stands after them.
  std::vector<int64_t> firsts(static_cast<size_t>(config.layers) + 1, -1);
  int64_t end = 0;
  size_t block = 0;
  for (const ParameterSpec& spec : layout) {
    while (block < static_cast<size_t>(config.layers) &&
           spec.name.starts_with(names.InBlock(static_cast<int64_t>(block), ""))) {
      firsts[block++] = spec.first;
    }
    const bool in_a_block =
        block > 0 && spec.name.starts_with(names.InBlock(static_cast<int64_t>(block) - 1, ""));
    if (block == static_cast<size_t>(config.layers) && !in_a_block && firsts.back() < 0) {
      firsts.back() = spec.first;
    }
    end = spec.first + spec.count;
  }
  REQUIRE(block == static_cast<size_t>(config.layers));
  if (firsts.back() < 0) firsts.back() = end;
  std::vector<LayoutRange> order;
  firsts.insert(firsts.begin(), 0);
  for (size_t i = firsts.size(); i-- > 0;) {
    order.push_back({firsts[i], end - firsts[i]});
    end = firsts[i];
  }
  return order;
}

}  // namespace trainyard
