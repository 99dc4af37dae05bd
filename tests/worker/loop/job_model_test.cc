#include "worker/loop/job_model.h"

#include <gmock/gmock.h>

#include "common/job_spec/json.h"
#include "common/job_spec/presets.h"
#include "tests/support/status_matchers.h"

namespace trainyard::worker {
namespace {

using testing::HasSubstr;

JobSpec SpecOf(const char* preset) {
  JobSpec spec;
  spec.model.config = (*FindPreset(preset))->config;
  return spec;
}

TEST(JobModel, OfEveryPresetFitsTheTrainer) {
  for (const Preset& preset : ModelPresets()) {
    const bool masked = !(*FindFamily(preset.config.at("model_type")))->causal;
    TokenizerContents special{.bos = {"<e>", 7}, .eos = {"<e>", 7}, .pad = {"<e>", 7}};
    if (masked) special = {.pad = {"[PAD]", 3}, .mask = {"[MASK]", 4}};
    const auto config = ModelOfJob(SpecOf(preset.name.c_str()), {}, 1000, special);
    ASSERT_OK(config) << preset.name;
    EXPECT_EQ(config->vocab_size, 1000);
    EXPECT_EQ(config->eos_id, masked ? -1 : 7) << preset.name;
    EXPECT_EQ(config->pad_id, masked ? 3 : -1) << preset.name;
  }
}

TEST(JobModel, IsRefusedByTheFieldThatDoesNotFit) {
  JobSpec spec = SpecOf("llama-nano");
  spec.model.config["vocab_size"] = "300";
  const Status small = ModelOfJob(spec, {}, 301, {}).status();
  EXPECT_THAT(small, StatusIs(StatusCode::kInvalidArgument, HasSubstr("vocab_size is 300")));
  EXPECT_EQ(FieldOf(small), "model.config.vocab_size");
  EXPECT_EQ(ModelOfJob(spec, {}, 299, {})->vocab_size, 300);  // rows to spare

  spec = SpecOf("bert-nano");
  spec.train.max_length = 513;
  const Status longer = ModelOfJob(spec, {}, 100, {.mask = {"[MASK]", 4}}).status();
  EXPECT_THAT(longer, StatusIs(StatusCode::kInvalidArgument, HasSubstr("positions for 512")));
  // RoBERTa's places begin after its pad token's.
  spec.model.config["model_type"] = "roberta";
  spec.train.max_length = 512;
  EXPECT_THAT(ModelOfJob(spec, {}, 100, {.pad = {"<pad>", 1}, .mask = {"<mask>", 4}}),
              StatusIs(StatusCode::kInvalidArgument, HasSubstr("positions for 510")));
}

TEST(JobModel, ThatIsTrainedFurtherHasItsOwnConfig) {
  const auto from = [](const char* preset) {
    StartingModel model;
    model.path = "model";
    model.config = ModelConfigJson(SpecOf(preset));
    model.config["vocab_size"] = 512;
    model.config["eos_token_id"] = 3;
    return model;
  };
  JobSpec spec;
  spec.model.from = "job:other-00000@400";
  const StartingModel llama = from("llama-nano");
  ASSERT_OK_AND_ASSIGN(const ModelConfig config, ModelOfJob(spec, llama, 500, {}));
  EXPECT_EQ(config.vocab_size, 512);  // rows to spare, as Qwen's
  EXPECT_EQ(config.eos_id, 3);

  const Status larger = ModelOfJob(spec, llama, 513, {}).status();
  EXPECT_THAT(larger, StatusIs(StatusCode::kInvalidArgument,
                               HasSubstr("tokenizer has 513 tokens, the model's embedding 512")));
  EXPECT_EQ(FieldOf(larger), "model.from");
  spec.train.max_length = 2049;
  EXPECT_EQ(FieldOf(ModelOfJob(spec, llama, 512, {}).status()), "train.max_length");
  spec.train.max_length = 256;
  StartingModel bert = from("bert-nano");
  EXPECT_THAT(ModelOfJob(spec, bert, 512, {}),
              StatusIs(StatusCode::kInvalidArgument, HasSubstr("give objective: masked")));
  spec.objective = "masked";
  EXPECT_OK(ModelOfJob(spec, bert, 512, {}));
  EXPECT_THAT(ModelOfJob(spec, llama, 512, {}),
              StatusIs(StatusCode::kInvalidArgument, HasSubstr("give objective: causal")));
  bert.config["architectures"] = {"BertModel"};
  EXPECT_THAT(ModelOfJob(spec, bert, 512, {}),
              StatusIs(StatusCode::kInvalidArgument, HasSubstr("no head that predicts")));
}

}  // namespace
}  // namespace trainyard::worker
