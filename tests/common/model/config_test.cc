#include "common/model/config.h"

#include <gmock/gmock.h>

#include <set>
#include <string>

#include "common/model/config_keys.h"
#include "tests/support/status_matchers.h"

namespace trainyard {
namespace {

using nlohmann::json;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::IsSupersetOf;

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

TEST(ModelConfig, TakesRopeScalingBeforeRopeParametersAndTheOuterOriginalLengthBeforeTheInner) {
  json config = Llama();
  config["rope_parameters"] = {{"rope_type", "default"}, {"rope_theta", 500000.0}};
  config["rope_scaling"] = {{"type", "yarn"}, {"factor", 4.0}};
  ASSERT_OK_AND_ASSIGN(ModelConfig model, ModelConfigFromJson(config));
  EXPECT_EQ(model.rope.kind, RopeKind::kYarn);
  EXPECT_EQ(model.rope.theta, 10000.0);
  EXPECT_EQ(model.rope.original_max_positions, 2048);  // max_position_embeddings
  EXPECT_THAT(ConfigNotes(config, false),
              ElementsAre(HasSubstr("rope_scaling counts"), HasSubstr("max_position_embeddings")));
  config["rope_scaling"]["original_max_position_embeddings"] = 512;
  ASSERT_OK_AND_ASSIGN(model, ModelConfigFromJson(config));
  EXPECT_EQ(model.rope.original_max_positions, 512);
  config["original_max_position_embeddings"] = 256;
  ASSERT_OK_AND_ASSIGN(model, ModelConfigFromJson(config));
  EXPECT_EQ(model.rope.original_max_positions, 256);
}

TEST(ModelConfig, LooksBothWaysWhereIsCausalIsFalseAndSaysSoAgain) {
  ASSERT_OK_AND_ASSIGN(const ModelConfig llama, With(Llama(), "is_causal", false));
  EXPECT_FALSE(llama.is_causal());
  json sliding = Llama();
  sliding["model_type"] = "mistral";
  sliding["sliding_window"] = 5;
  sliding["is_causal"] = false;
  ASSERT_OK_AND_ASSIGN(const ModelConfig mistral, ModelConfigFromJson(sliding));
  EXPECT_EQ(mistral.attention_of(0).window, 6);  // five to each side, and the token itself
  json bert = {{"model_type", "bert"}, {"is_decoder", true}};
  ASSERT_OK_AND_ASSIGN(const ModelConfig decoder, ModelConfigFromJson(bert));
  EXPECT_TRUE(decoder.is_causal());
  for (const ModelConfig& model : {llama, mistral, decoder}) {
    ASSERT_OK_AND_ASSIGN(const ModelConfig again,
                         ModelConfigFromJson(json(ModelConfigToJson(model))));
    EXPECT_EQ(again.is_causal(), model.is_causal());
    EXPECT_EQ(again.attention, model.attention);
  }
}

TEST(ModelConfig, RefusesAnEncoderOfWhichTransformersMakesTwoModels) {
  for (const char* type : {"bert", "roberta", "distilbert"}) {
    EXPECT_THAT(ModelConfigFromJson({{"model_type", type}, {"is_causal", true}}),
                StatusIs(StatusCode::kInvalidArgument, HasSubstr("is_causal")));
    EXPECT_OK(ModelConfigFromJson({{"model_type", type}, {"is_causal", false}}).status());
  }
  const json both = {{"model_type", "bert"}, {"is_causal", false}, {"is_decoder", true}};
  EXPECT_FALSE(ModelConfigFromJson(both)->is_causal());
}

TEST(ModelConfig, SaysAgainThatAGemmaHasNoPadAndNoLayerThatSlides) {
  const json gemma = {{"model_type", "gemma2"},
                      {"num_hidden_layers", 2},
                      {"pad_token_id", nullptr},
                      {"layer_types", {"full_attention", "full_attention"}}};
  ASSERT_OK_AND_ASSIGN(const ModelConfig model, ModelConfigFromJson(gemma));
  ASSERT_OK_AND_ASSIGN(const ModelConfig again,
                       ModelConfigFromJson(json(ModelConfigToJson(model))));
  EXPECT_EQ(again.pad_id, -1);
  EXPECT_EQ(again.attention_of(0).window, 0);
  EXPECT_FALSE(ModelConfigToJson(model).contains("sliding_window"));  // null is an error there
}

TEST(ModelConfig, TakesAnIdThatIsLeftOutFromTheFamilyIfTheVocabularyHasIt) {
  json config = Llama();
  config.erase("bos_token_id"), config.erase("eos_token_id");
  ASSERT_OK_AND_ASSIGN(ModelConfig model, ModelConfigFromJson(config));
  EXPECT_EQ(model.bos_id, 1);
  EXPECT_EQ(model.eos_id, 2);
  config["eos_token_id"] = nullptr;
  ASSERT_OK_AND_ASSIGN(model, ModelConfigFromJson(config));
  EXPECT_EQ(model.eos_id, -1);
  ASSERT_OK_AND_ASSIGN(model, ModelConfigFromJson(Gpt2()));  // whose is past this vocabulary
  EXPECT_EQ(model.eos_id, -1);
}

TEST(ModelConfig, ReadsTheCommonNamesInAGpt2sConfigBeforeItsOwn) {
  json config = Gpt2();
  config["hidden_size"] = 32;
  config["max_position_embeddings"] = 77;
  ASSERT_OK_AND_ASSIGN(const ModelConfig model, ModelConfigFromJson(config));
  EXPECT_EQ(model.hidden_size, 32);
  EXPECT_EQ(model.max_positions, 77);
  EXPECT_EQ(model.layers, 2);
}

TEST(ConfigNotes, TellWhatIsNotReadAndWhatTrainingLeavesOut) {
  json config = Gpt2();
  EXPECT_THAT(ConfigNotes(config, true), IsEmpty());
  config["attn_pdrop"] = 0.1;
  config["moon_phase"] = 1;
  EXPECT_THAT(ConfigNotes(config, false), ElementsAre(HasSubstr("moon_phase")));
  EXPECT_THAT(ConfigNotes(config, true),
              ElementsAre(HasSubstr("moon_phase"), HasSubstr("attn_pdrop")));
  for (const Family& family : Families()) {
    std::set<std::string> names;
    for (const ConfigKey& key : ConfigKeysOf(family)) {
      EXPECT_TRUE(names.insert(key.name).second) << family.model_type << " " << key.name;
    }
    EXPECT_THAT(names, IsSupersetOf({family.keys.hidden_size, family.keys.layers}));
  }
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
  refuses(With(Llama(), "rope_scaling", {{"rope_type", "yarn"}, {"factor", -4}}), "rope_scaling");
  refuses(With(Llama(), "rope_parameters", {{"full_attention", {{"factor", 4}}}}),
          "rope_parameters.full_attention");
  refuses(With(Llama(), "quantization_config", {{"bits", 4}}), "quantization_config");
  refuses(With(Gpt2(), "hidden_size", nullptr), "n_embd");
  refuses(With(Gpt2(), "n_head", 5), "n_head");
  refuses(With(Gpt2(), "activation_function", "relu"), "activation_function");
  refuses(With(Gpt2(), "add_cross_attention", true), "add_cross_attention");
}

}  // namespace
}  // namespace trainyard
