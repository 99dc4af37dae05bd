#include "common/job_spec/fresh_model.h"

#include <gmock/gmock.h>

#include "common/job_spec/presets.h"
#include "tests/support/status_matchers.h"

namespace trainyard {
namespace {

using testing::StartsWith;

JobSpec SpecOf(const char* preset) {
  JobSpec spec;
  spec.model.config = (*FindPreset(preset))->config;
  return spec;
}

TEST(FreshModelConfig, TakesTheVocabularyThatModelConfigGivesOrElseTheTokenizers) {
  JobSpec spec = SpecOf("llama-nano");
  EXPECT_EQ(FreshModelConfig(spec, 4099, {})->vocab_size, 4099);
  spec.model.config["vocab_size"] = "5000";
  EXPECT_EQ(FreshModelConfig(spec, 4099, {})->vocab_size, 5000);
}

TEST(FreshModelConfig, HasTheTokenizersSpecialTokensAndKeepsTheOthers) {
  JobSpec spec = SpecOf("gpt2");
  spec.model.config["bos_token_id"] = spec.model.config["eos_token_id"] = "50256";
  spec.model.config["pad_token_id"] = "3";
  EXPECT_FALSE(FreshModelConfig(spec, 300, {}).ok());
  ASSERT_OK_AND_ASSIGN(
      const ModelConfig config,
      FreshModelConfig(spec, 300, {{"bos_token_id", nullptr}, {"eos_token_id", 7}}));
  EXPECT_EQ(config.bos_id, -1);
  EXPECT_EQ(config.eos_id, 7);
  EXPECT_EQ(config.pad_id, 3);
}

TEST(FreshModelConfig, NamesTheFieldThatDoesNotFit) {
  const auto refused = [](const char* preset, const char* key, const char* value) {
    JobSpec spec = SpecOf(preset);
    spec.model.config[key] = value;
    const Status status = FreshModelConfig(spec, 100, {}).status();
    EXPECT_EQ(FieldOf(status), "model.config");
    EXPECT_EQ(status.code(), StatusCode::kInvalidArgument);
    return MessageOf(status);
  };
  EXPECT_THAT(refused("llama-nano", "hidden_size", "0"),
              StartsWith("model.config.hidden_size must be between 1 and"));
  EXPECT_THAT(refused("llama-nano", "head_dim", "7"), StartsWith("model.config.head_dim = 7 must"));
  EXPECT_THAT(refused("gpt2", "n_layer", "many"), StartsWith("model.config.n_layer must be"));
  EXPECT_THAT(refused("gpt2", "eos_token_id", "100"),
              StartsWith("model.config.eos_token_id = 100 must be below vocab_size = 100"));
  EXPECT_THAT(refused("bert-nano", "model_type", "mamba"),
              StartsWith("model.config.model_type 'mamba' is not known; known are: llama"));
}

}  // namespace
}  // namespace trainyard
