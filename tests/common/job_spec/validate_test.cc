#include "common/job_spec/validate.h"

#include <functional>

#include "tests/common/job_spec/example.h"

namespace trainyard {
namespace {

using testing::HasSubstr;
using testing::StartsWith;

TEST(Validate, AcceptsTheExample) { EXPECT_OK(Validate(ExampleJob().spec)); }

struct Broken {
  const char* name;
  std::function<void(JobSpec&)> change;
  const char* field;
  const char* message;
};

class ValidateRefuses : public testing::TestWithParam<Broken> {};

TEST_P(ValidateRefuses, ByFieldAndRule) {
  JobSpec spec = ExampleJob().spec;
  GetParam().change(spec);
  const Status status = Validate(spec);
  EXPECT_EQ(FieldOf(status), GetParam().field) << status;
  EXPECT_THAT(status, StatusIs(StatusCode::kInvalidArgument, HasSubstr(GetParam().message)));
  EXPECT_THAT(MessageOf(status), StartsWith(GetParam().field));
}

INSTANTIATE_TEST_SUITE_P(
    Rules, ValidateRefuses,
    testing::Values(
        Broken{"NoName", [](JobSpec& s) { s.name = ""; }, "name", "must be given"},
        Broken{"UpperCaseName", [](JobSpec& s) { s.name = "Big"; }, "name", "lower-case"},
        Broken{"HyphenAtTheEnd", [](JobSpec& s) { s.name = "a-"; }, "name", "inner hyphens"},
        Broken{"LongName", [](JobSpec& s) { s.name = std::string(41, 'a'); }, "name", "at most 40"},
        Broken{"NoKind", [](JobSpec& s) { s.kind = ""; }, "kind", "must be given"},
        Broken{"OddKind", [](JobSpec& s) { s.kind = "x"; }, "kind", "is not one of"},
        Broken{"NoModel", [](JobSpec& s) { s.model = {}; }, "model", "none is given"},
        Broken{"TwoModels", [](JobSpec& s) { s.model.from = "x"; }, "model", "several are given"},
        Broken{"OddPreset", [](JobSpec& s) { s.model.preset = "lama-nano"; }, "model.preset",
               "did you mean llama-nano?"},
        Broken{"ConfigWithoutType",
               [](JobSpec& s) {
                 s.model = {.preset = "", .from = "", .config = {{"hidden_size", "8"}}};
               },
               "model.config.model_type", "must be given"},
        Broken{"TwoTokenizers", [](JobSpec& s) { s.tokenizer.from = "x"; }, "tokenizer",
               "both are given"},
        Broken{"NoTokenizer", [](JobSpec& s) { s.tokenizer = {}; }, "tokenizer", "brings none"},
        Broken{"FewBytes", [](JobSpec& s) { s.tokenizer.train->vocab_size = 257; },
               "tokenizer.train.vocab_size", "at least 258 for type bpe"},
        Broken{"NoData", [](JobSpec& s) { s.data.train.clear(); }, "data.train", "must be given"},
        Broken{"NoPath", [](JobSpec& s) { s.data.validation[0].path = ""; },
               "data.validation[0].path", "must be given"},
        Broken{"NoSteps", [](JobSpec& s) { s.train.max_steps = 0; }, "train.max_steps",
               "must be given"},
        Broken{"NanRate", [](JobSpec& s) { s.train.learning_rate = 0.0 / 0.0; },
               "train.learning_rate", "above 0"},
        Broken{"UnevenBatch", [](JobSpec& s) { s.resources.ranks = 5; }, "train.global_batch_size",
               "30 or 35 would fit"},
        Broken{"MoreRanksThanRows", [](JobSpec& s) { s.resources.ranks = 64; },
               "train.global_batch_size", "64 would fit"},
        Broken{"UnevenMicroBatch", [](JobSpec& s) { s.train.micro_batch_size = 5; },
               "train.micro_batch_size", "4 or 8 would fit"},
        Broken{"LongWarmup", [](JobSpec& s) { s.train.warmup_steps = 401; }, "train.warmup_steps",
               "more than train.max_steps 400"},
        Broken{"DecayOfCosine", [](JobSpec& s) { s.train.decay_steps = 5; }, "train.decay_steps",
               "is for lr_scheduler_type warmup_stable_decay"},
        Broken{"LongDecay",
               [](JobSpec& s) {
                 s.train.lr_scheduler_type = "warmup_stable_decay";
                 s.train.warmup_steps = 100;
                 s.train.decay_steps = 301;
               },
               "train.decay_steps", "the 300 steps left"},
        Broken{"MaskedLlama", [](JobSpec& s) { s.objective = "masked"; }, "objective",
               "give objective: causal, or a model of type bert"},
        Broken{"CausalBert",
               [](JobSpec& s) {
                 s.model = {.preset = "", .from = "", .config = {{"model_type", "bert"}}};
               },
               "objective", "a token sees what it is to predict: give objective: masked"},
        Broken{"OddObjective", [](JobSpec& s) { s.objective = "mask"; }, "objective",
               "is not one of causal | masked"},
        Broken{"MaskingOfCausal", [](JobSpec& s) { s.masking.probability = 0.3; },
               "masking.probability", "is for objective masked; this one is causal"},
        Broken{"WordsOfCausal", [](JobSpec& s) { s.masking.whole_word = true; },
               "masking.whole_word", "is for objective masked; this one is causal"},
        Broken{"LongRows", [](JobSpec& s) { s.train.max_length = 4096; }, "train.max_length",
               "max_position_embeddings 2048"}),
    [](const auto& info) { return info.param.name; });

TEST(Validate, SaysWhichKindsAreNotBuilt) {
  for (const char* kind : {"sft", "preference", "reward_model", "rlhf", "distill", "generate"}) {
    JobSpec spec = ExampleJob().spec;
    spec.kind = kind;
    const Status status = Validate(spec);
    EXPECT_THAT(status, StatusIs(StatusCode::kUnimplemented,
                                 fmt::format("kind: kind {} is not built yet; built now: pretrain, "
                                             "evaluate",
                                             kind)));
    EXPECT_EQ(ReasonOf(status), "KIND_NOT_BUILT");
    EXPECT_EQ(FieldOf(status), "kind");
  }
}

TEST(Validate, AcceptsAMaskedJobOfAModelThatSeesBothWays) {
  JobSpec spec = ExampleJob().spec;
  spec.objective = "masked";
  spec.masking = {.probability = 0.4, .whole_word = true};
  spec.model = {.preset = "bert-nano", .from = "", .config = {}};
  spec.tokenizer.train = {.type = "wordpiece", .vocab_size = 8192};
  EXPECT_OK(Validate(spec));
  spec.train.max_length = 513;
  EXPECT_EQ(FieldOf(Validate(spec)), "train.max_length");
  for (const double p : {0.0, 1.1}) {
    spec.masking.probability = p;
    EXPECT_THAT(Validate(spec), StatusIs(StatusCode::kInvalidArgument,
                                         HasSubstr("masking.probability: must be above 0")));
  }
}

TEST(Validate, AnEvaluationNeedsAModelAndTextsAndTrainsNothing) {
  JobSpec spec = ExampleJob().spec;
  spec.kind = "evaluate";
  spec.train.max_steps = 0;
  const auto fields = [&] {
    std::vector<std::string> found;
    for (const Status& problem : FindProblems(spec)) found.push_back(FieldOf(problem));
    return found;
  };
  EXPECT_THAT(fields(), testing::ElementsAre("model.from", "tokenizer.train", "data.train"));
  spec.model = {.preset = "", .from = "job:shakespeare@latest", .config = {}};
  spec.tokenizer.train.reset();
  spec.data.train.clear();
  EXPECT_OK(Validate(spec));
  spec.data.validation.clear();
  EXPECT_THAT(fields(), testing::ElementsAre("data.validation"));
  spec.data.validation = {{.path = "a.txt"}};
  spec.objective = "masked";
  EXPECT_EQ(Validate(spec).code(), StatusCode::kUnimplemented);
}

TEST(Validate, SaysWhichModelsAreNotBuilt) {
  JobSpec spec = ExampleJob().spec;
  spec.model = {.preset = "", .from = "", .config = {{"model_type", "t5"}}};
  const Status status = Validate(spec);
  EXPECT_THAT(status, StatusIs(StatusCode::kUnimplemented, HasSubstr("t5 is not built yet")));
  EXPECT_EQ(ReasonOf(status), "MODEL_NOT_BUILT");
}

TEST(Validate, ReportsAllProblemsALineEach) {
  JobSpec spec = ExampleJob().spec;
  spec.name = "";
  spec.train.max_steps = 0;
  spec.train.min_lr_ratio = 2;
  EXPECT_EQ(FindProblems(spec).size(), 3u);
  EXPECT_THAT(Validate(spec), StatusIs(StatusCode::kInvalidArgument,
                                       testing::AllOf(HasSubstr("\ntrain.max_steps: "),
                                                      HasSubstr("\ntrain.min_lr_ratio: "))));
}

TEST(ValidateUploaded, WantsDigestsOfEverySource) {
  JobSpec spec = ExampleJob().spec;
  EXPECT_EQ(FieldOf(ValidateUploaded(spec)), "data.train[0].files");
  const BlobRef file{.name = "a", .sha256 = std::string(64, 'f'), .size_bytes = 1};
  spec.data.train[0].files = {file};
  spec.data.validation[0].files = {file, file};
  EXPECT_OK(ValidateUploaded(spec));
  spec.data.validation[0].files[1].sha256[3] = '/';
  EXPECT_EQ(FieldOf(ValidateUploaded(spec)), "data.validation[0].files[1].sha256");
}

}  // namespace
}  // namespace trainyard
