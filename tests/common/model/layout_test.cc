#include "common/model/layout.h"

#include <gmock/gmock.h>

#include <algorithm>

#include "tests/common/model/tiny_models.h"
#include "tests/support/status_matchers.h"

namespace trainyard {
namespace {

using testing::ElementsAre;

std::vector<std::string> NamesIn(const std::vector<ParameterSpec>& layout) {
  std::vector<std::string> names;
  for (const ParameterSpec& spec : layout) names.push_back(spec.name);
  return names;
}

ModelConfig OneLayer(ModelConfig config) {
  config.layers = 1;
  return *WithFamily(config);
}

TEST(Layout, OfLlamaHasHuggingFacesNames) {
  EXPECT_THAT(
      NamesIn(ParameterLayout(OneLayer(TinyLlama()))),
      ElementsAre(
          "model.embed_tokens.weight", "model.layers.0.input_layernorm.weight",
          "model.layers.0.self_attn.q_proj.weight", "model.layers.0.self_attn.k_proj.weight",
          "model.layers.0.self_attn.v_proj.weight", "model.layers.0.self_attn.o_proj.weight",
          "model.layers.0.post_attention_layernorm.weight", "model.layers.0.mlp.gate_proj.weight",
          "model.layers.0.mlp.up_proj.weight", "model.layers.0.mlp.down_proj.weight",
          "model.norm.weight", "lm_head.weight"));
}

TEST(Layout, OfGpt2HasHuggingFacesNamesAndConv1dShapes) {
  const auto layout = ParameterLayout(OneLayer(TinyGpt2()));
  EXPECT_THAT(NamesIn(layout),
              ElementsAre("transformer.wte.weight", "transformer.wpe.weight",
                          "transformer.h.0.ln_1.weight", "transformer.h.0.ln_1.bias",
                          "transformer.h.0.attn.c_attn.weight", "transformer.h.0.attn.c_attn.bias",
                          "transformer.h.0.attn.c_proj.weight", "transformer.h.0.attn.c_proj.bias",
                          "transformer.h.0.ln_2.weight", "transformer.h.0.ln_2.bias",
                          "transformer.h.0.mlp.c_fc.weight", "transformer.h.0.mlp.c_fc.bias",
                          "transformer.h.0.mlp.c_proj.weight", "transformer.h.0.mlp.c_proj.bias",
                          "transformer.ln_f.weight", "transformer.ln_f.bias"));
  EXPECT_THAT(layout[4].shape, ElementsAre(24, 72));
}

TEST(Layout, TellsTheOptimiserWhatIsAMatrix) {
  for (const ModelConfig& config : {TinyLlama(), TinyGpt2()}) {
    for (const ParameterSpec& spec : ParameterLayout(OneLayer(config))) {
      const bool in_block = spec.name.find("layers.0.") != std::string::npos ||
                            spec.name.find("h.0.") != std::string::npos;
      EXPECT_EQ(!spec.projections.empty(), in_block && spec.shape.size() == 2) << spec.name;
    }
  }
  const auto llama = ParameterLayout(OneLayer(TinyLlama()));
  EXPECT_THAT(llama[3].projections, ElementsAre(12));  // k_proj of 2 heads, [12, 24]
  EXPECT_FALSE(llama[3].is_in_out);
  const auto gpt2 = ParameterLayout(OneLayer(TinyGpt2()));
  EXPECT_THAT(gpt2[4].projections, ElementsAre(24, 24, 24));  // c_attn packs q, k, v
  EXPECT_TRUE(gpt2[4].is_in_out);
}

TEST(Layout, IsDenseAndListsATiedHeadOnce) {
  ModelConfig config = *WithFamily(TinyLlama());
  const int64_t untied = config.parameter_count();
  config.tie_embeddings = true;
  EXPECT_EQ(untied - config.parameter_count(), config.vocab_size * config.hidden_size);
  int64_t next = 0;
  for (const ParameterSpec& spec : ParameterLayout(config)) {
    EXPECT_EQ(spec.first, next) << spec.name;
    next += spec.count;
  }
  EXPECT_EQ(next, config.parameter_count());
}

TEST(Layout, OfTheSmallestGpt2HasItsPublishedCount) {
  ModelConfig config = TinyGpt2();
  config.vocab_size = 50257;
  config.hidden_size = 768;
  config.layers = 12;
  config.heads = config.kv_heads = 12;
  config.head_width = 64;
  config.mlp_width = 3072;
  config.max_positions = 1024;
  EXPECT_EQ(WithFamily(config)->parameter_count(), 124'439'808);
}

TEST(Layout, BackwardFinishesItFromTheEndDown) {
  for (ModelConfig config : {TinyLlama(), TinyGpt2()}) {
    config = *WithFamily(config);
    const auto layout = ParameterLayout(config);
    const auto order = BackwardOrder(config, layout);
    ASSERT_EQ(order.size(), static_cast<size_t>(config.layers) + 2);
    int64_t end = layout.back().first + layout.back().count;
    for (const LayoutRange& range : order) {
      EXPECT_EQ(range.first + range.count, end);
      end = range.first;
    }
    EXPECT_EQ(end, 0);
    const auto name_at = [&](size_t i) {
      return std::find_if(layout.begin(), layout.end(),
                          [&](const ParameterSpec& spec) { return spec.first == order[i].first; })
          ->name;
    };
    const NameMap& names = NamesOf(config);
    EXPECT_EQ(name_at(0), names.final_norm + ".weight");
    EXPECT_EQ(name_at(1), names.InBlock(config.layers - 1, names.attention_norm) + ".weight");
    EXPECT_EQ(name_at(2), names.InBlock(config.layers - 2, names.attention_norm) + ".weight");
  }
}

}  // namespace
}  // namespace trainyard
