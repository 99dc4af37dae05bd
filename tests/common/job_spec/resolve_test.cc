#include "common/job_spec/resolve.h"

#include "common/job_spec/fields.h"
#include "common/job_spec/json.h"
#include "common/job_spec/presets.h"
#include "common/job_spec/validate.h"
#include "tests/common/job_spec/example.h"

namespace trainyard {
namespace {

using testing::Contains;
using testing::HasSubstr;
using testing::Pair;

TEST(Resolve, SaysOfEveryLeafWhereItCameFrom) {
  ParsedJob job = ExampleJob();
  ASSERT_OK(ApplySet(&job, "train.seed=7"));
  ASSERT_OK_AND_ASSIGN(const ResolvedSpec resolved, Resolve(job));
  EXPECT_THAT(resolved.origins, Contains(Pair("train.learning_rate", "job file")));
  EXPECT_THAT(resolved.origins, Contains(Pair("train.seed", "--set")));
  EXPECT_THAT(resolved.origins, Contains(Pair("train.adam_beta1", "default")));
  EXPECT_THAT(resolved.origins, Contains(Pair("train.micro_batch_size", "planner")));
  EXPECT_THAT(resolved.origins, Contains(Pair("model.config.hidden_size", "preset llama-nano")));
  VisitLeaves(resolved.spec, [&](const std::string& path, const Field&, const std::string&) {
    EXPECT_TRUE(resolved.origins.contains(path)) << path;
  });
}

TEST(Resolve, TurnsThePresetIntoAConfigThatValidatesAgain) {
  ASSERT_OK_AND_ASSIGN(const ResolvedSpec resolved, Resolve(ExampleJob()));
  EXPECT_EQ(resolved.spec.model.preset, "");
  EXPECT_EQ(ModelConfigJson(resolved.spec)["num_hidden_layers"], 4);
  EXPECT_EQ(ModelConfigJson(resolved.spec)["tie_word_embeddings"], true);
  EXPECT_OK(Validate(resolved.spec));
  ASSERT_OK_AND_ASSIGN(const ResolvedSpec again, Resolve(resolved.spec));
  EXPECT_EQ(JobSpecToJson(again.spec), JobSpecToJson(resolved.spec));
}

TEST(Resolve, KeepsAMicroBatchThatWasGiven) {
  ParsedJob job = ExampleJob();
  ASSERT_OK(ApplySet(&job, "train.micro_batch_size=2"));
  ASSERT_OK_AND_ASSIGN(const ResolvedSpec resolved, Resolve(job));
  EXPECT_EQ(resolved.spec.train.micro_batch_size, 2);
  EXPECT_THAT(resolved.origins, Contains(Pair("train.micro_batch_size", "--set")));
}

TEST(Resolve, ChoosesAMicroBatchThatDividesTheRowsOfARankAndStaysModest) {
  const auto chosen = [](int64_t rows, int64_t ranks, const char* preset, int64_t length,
                         const char* device = "cpu") {
    JobSpec spec = ExampleJob().spec;
    spec.resources.device = device;
    spec.train.global_batch_size = rows;
    spec.resources.ranks = ranks;
    spec.model.preset = preset;
    spec.train.max_length = length;
    const auto resolved = Resolve(spec);
    EXPECT_OK(resolved);
    return resolved.ok() ? resolved->spec.train.micro_batch_size : -1;
  };
  EXPECT_EQ(chosen(32, 2, "llama-nano", 256), 16);
  EXPECT_EQ(chosen(36, 2, "llama-nano", 256), 9);
  EXPECT_EQ(chosen(34, 2, "llama-nano", 256), 1) << "17 rows a rank";
  EXPECT_EQ(chosen(1024, 1, "llama-nano", 256), 16);
  EXPECT_LT(chosen(1024, 1, "gpt2-medium", 1024), 4) << "large rows";
  EXPECT_EQ(chosen(1024, 1, "llama-nano", 256, "cuda"), 512) << "a GPU wants much at once";
  EXPECT_GE(chosen(1024, 1, "gpt2-medium", 1024, "cuda"), 4);
}

TEST(Resolve, AnEvaluationIsOneStep) {
  ParsedJob job = ExampleJob();
  job.spec.kind = "evaluate";
  job.spec.model = {.preset = "", .from = "model", .config = {}};
  job.spec.tokenizer.train.reset();
  job.spec.data.train.clear();
  job.spec.train.max_steps = 0;
  ASSERT_OK_AND_ASSIGN(const ResolvedSpec resolved, Resolve(job));
  EXPECT_EQ(resolved.spec.train.max_steps, 1);
  EXPECT_THAT(resolved.origins, Contains(Pair("train.max_steps", "planner")));
}

TEST(Resolve, RefusesWhatValidateRefuses) {
  JobSpec spec = ExampleJob().spec;
  spec.kind = "sft";
  EXPECT_THAT(Resolve(spec), StatusIs(StatusCode::kUnimplemented, HasSubstr("sft")));
}

TEST(ResolvedJson, ComesBackAsItWas) {
  ASSERT_OK_AND_ASSIGN(const ResolvedSpec resolved, Resolve(ExampleJob()));
  ASSERT_OK_AND_ASSIGN(const ResolvedSpec back, ResolvedFromJson(ResolvedToJson(resolved)));
  EXPECT_EQ(JobSpecToJson(back.spec), JobSpecToJson(resolved.spec));
  EXPECT_EQ(back.origins, resolved.origins);
  EXPECT_FALSE(ResolvedFromJson({{"spec", 1}}).ok());
}

// Parameter counts: embeddings, per layer attention, MLP and norms, final norm; tied output.
TEST(Presets, HaveTheSizesTheirNamesSay) {
  const auto millions = [](const char* name, double vocab) {
    JobSpec spec;
    spec.model.config = (*FindPreset(name))->config;
    const auto c = ModelConfigJson(spec);
    if (c["model_type"] == "gpt2") {
      const double d = c["n_embd"], layers = c["n_layer"], positions = c["n_positions"];
      return (vocab * d + positions * d + layers * (12 * d * d + 13 * d) + 2 * d) / 1e6;
    }
    const double d = c["hidden_size"], layers = c["num_hidden_layers"], f = c["intermediate_size"];
    if (c["model_type"] == "bert") {
      // Embeddings of tokens, 512 places and 2 types; the head's dense layer, norm and bias.
      const double embeddings = (vocab + 512 + 2) * d + 2 * d, head = d * d + 3 * d + vocab;
      return (embeddings + layers * (4 * d * d + 2 * d * f + 9 * d + f) + head) / 1e6;
    }
    return (vocab * d + layers * (4 * d * d + 3 * d * f + 2 * d) + d) / 1e6;
  };
  EXPECT_NEAR(millions("gpt2", 50257), 124.44, 0.01);
  EXPECT_NEAR(millions("gpt2-medium", 50257), 354.82, 0.01);
  EXPECT_NEAR(millions("llama-15m", 32000), 15.19, 0.01);
  EXPECT_NEAR(millions("llama-42m", 32000), 41.69, 0.3);
  EXPECT_NEAR(millions("llama-110m", 32000), 109.53, 0.1);
  EXPECT_LT(millions("llama-nano", 4096), 1.5);
  EXPECT_NEAR(millions("bert-base", 30522), 109.51, 0.01);  // transformers' BertForMaskedLM
  EXPECT_LT(millions("bert-nano", 8192), 2);
}

}  // namespace
}  // namespace trainyard
