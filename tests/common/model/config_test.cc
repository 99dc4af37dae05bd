#include "common/model/config.h"

#include <gmock/gmock.h>

#include "tests/support/status_matchers.h"

namespace trainyard {
namespace {

using nlohmann::json;
using testing::HasSubstr;

json Llama() {
  return {{"model_type", "llama"},   {"vocab_size", 128},        {"hidden_size", 64},
          {"num_hidden_layers", 2},  {"num_attention_heads", 4}, {"num_key_value_heads", 2},
          {"intermediate_size", 96}, {"rms_norm_eps", 1e-6},     {"bos_token_id", 1},
          {"eos_token_id", {2, 3}},  {"rope_scaling", nullptr}};
}

json Gpt2() {
  return {
      {"model_type", "gpt2"}, {"vocab_size", 128}, {"n_embd", 64}, {"n_layer", 2}, {"n_head", 4}};
}

StatusOr<ModelConfig> With(json config, const char* key, const json& value) {
  config[key] = value;
  return ModelConfigFromJson(config);
}

TEST(ModelConfig, ReadsALlamaWithTheFamilysDefaults) {
  ASSERT_OK_AND_ASSIGN(const ModelConfig model, ModelConfigFromJson(Llama()));
  EXPECT_EQ(model.head_width, 16);
  EXPECT_EQ(model.kv_heads, 2);
  EXPECT_EQ(model.max_positions, 2048);
  EXPECT_EQ(model.rope.theta, 10000.0);
  EXPECT_EQ(model.eos_id, 2);
  EXPECT_FALSE(model.tie_embeddings);
  EXPECT_EQ(model.family().norm, NormKind::kRms);
  EXPECT_EQ(model.family().mlp, MlpKind::kSwiGlu);
}

TEST(ModelConfig, ReadsAGpt2WithTheFamilysDefaults) {
  ASSERT_OK_AND_ASSIGN(const ModelConfig model, ModelConfigFromJson(Gpt2()));
  EXPECT_EQ(model.mlp_width, 256);
  EXPECT_EQ(model.kv_heads, 4);
  EXPECT_EQ(model.max_positions, 1024);
  EXPECT_TRUE(model.tie_embeddings);
  EXPECT_TRUE(model.qkv_bias && model.attention_out_bias && model.mlp_bias);
  EXPECT_EQ(model.family().position, PositionKind::kLearned);
}

TEST(Family, NamesAreListedByWhatATokenSees) {
  EXPECT_EQ(FamilyNames(/*causal=*/false), "bert, roberta, distilbert");
  EXPECT_THAT(FamilyNames(/*causal=*/true), AllOf(HasSubstr("llama, "), HasSubstr(", gpt2")));
  for (const Family& family : Families()) EXPECT_THAT(FamilyNames(), HasSubstr(family.model_type));
}

TEST(Family, TiesItsEmbeddingsWhereAConfigIsSilent) {
  for (const char* ties : {"gpt2", "bert", "roberta", "distilbert", "gemma2", "gemma3_text"})
    EXPECT_TRUE((*FindFamily(ties))->defaults.tie_embeddings) << ties;
  for (const char* does_not : {"llama", "mistral", "qwen2", "qwen3"})
    EXPECT_FALSE((*FindFamily(does_not))->defaults.tie_embeddings) << does_not;
}

TEST(ModelConfig, SurvivesItsOwnJson) {
  for (const json& config : {Llama(), Gpt2()}) {
    ASSERT_OK_AND_ASSIGN(const ModelConfig model, ModelConfigFromJson(config));
    const auto written = ModelConfigToJson(model);
    ASSERT_OK_AND_ASSIGN(const ModelConfig again, ModelConfigFromJson(json(written)));
    EXPECT_EQ(ModelConfigToJson(again), written);
    EXPECT_EQ(again.parameter_count(), model.parameter_count());
  }
}

TEST(ModelConfig, ReadsTheRopeOfTransformersFive) {
  ASSERT_OK_AND_ASSIGN(
      const ModelConfig model,
      With(Llama(), "rope_parameters", {{"rope_type", "default"}, {"rope_theta", 500000.0}}));
  EXPECT_EQ(model.rope.theta, 500000.0);
}

TEST(ModelConfig, RefusesWhatItCannotTrainAndNamesTheKey) {
  const auto refuses = [](const StatusOr<ModelConfig>& model, const char* key) {
    EXPECT_THAT(model, StatusIs(StatusCode::kInvalidArgument, HasSubstr(key)));
  };
  refuses(ModelConfigFromJson(json::array()), "model_type");
  refuses(With(Llama(), "model_type", "mamba"), "mamba");
  refuses(With(Llama(), "num_attention_heads", 5), "num_attention_heads");
  refuses(With(Llama(), "num_key_value_heads", 3), "num_key_value_heads");
  refuses(With(Llama(), "head_dim", 7), "head_dim");
  refuses(With(Llama(), "vocab_size", "many"), "vocab_size");
  refuses(With(Llama(), "vocab_size", -1), "vocab_size");
  refuses(With(Llama(), "vocab_size", uint64_t{1} << 40), "vocab_size");
  refuses(With(Llama(), "hidden_size", nullptr), "hidden_size");
  refuses(With(Llama(), "intermediate_size", 0), "intermediate_size");
  refuses(With(Llama(), "hidden_act", "gelu"), "hidden_act");
  refuses(With(Llama(), "attention_bias", "yes"), "attention_bias");
  refuses(With(Llama(), "rms_norm_eps", 0), "rms_norm_eps");
  refuses(With(Llama(), "bos_token_id", 128), "128");
  refuses(With(Llama(), "rope_scaling", {{"rope_type", "yarn"}, {"factor", 4}}), "rope_scaling");
  refuses(With(Gpt2(), "n_head", 5), "n_head");
  refuses(With(Gpt2(), "activation_function", "relu"), "activation_function");
  refuses(With(Gpt2(), "scale_attn_weights", false), "scale_attn_weights");
}

}  // namespace
}  // namespace trainyard
