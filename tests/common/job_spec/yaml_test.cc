#include "common/job_spec/yaml.h"

#include "common/files.h"
#include "common/job_spec/fields.h"
#include "common/job_spec/json.h"
#include "common/job_spec/resolve.h"
#include "tests/common/job_spec/example.h"
#include "tests/support/places.h"

namespace trainyard {
namespace {

using testing::AllOf;
using testing::Contains;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::Not;
using testing::Pair;
using testing::StartsWith;

StatusOr<ParsedJob> Parse(const std::string& text) { return ParseJobYaml(text, "job.yaml"); }

std::string ErrorOf(const std::string& text) {
  const auto job = Parse(text);
  EXPECT_EQ(job.status().code(), StatusCode::kInvalidArgument) << text;
  return MessageOf(job.status());
}

TEST(ParseJobYaml, ReadsEveryKindOfField) {
  const ParsedJob job = ExampleJob();
  EXPECT_EQ(job.spec.name, "shakespeare");
  EXPECT_EQ(job.spec.model.preset, "llama-nano");
  ASSERT_TRUE(job.spec.tokenizer.train.has_value());
  EXPECT_EQ(job.spec.tokenizer.train->vocab_size, 4096);
  ASSERT_EQ(job.spec.data.validation.size(), 1u);
  EXPECT_EQ(job.spec.data.validation[0].path, "held-out.txt");
  EXPECT_EQ(job.spec.data.validation[0].weight, 1.0);
  EXPECT_DOUBLE_EQ(job.spec.train.learning_rate, 3e-3);
  EXPECT_EQ(job.spec.resources.ranks, 2);
  EXPECT_EQ(job.spec.train.seed, 42) << "a default";
  EXPECT_THAT(job.origins, Contains(Pair("data.train[0].path", "job file")));
  EXPECT_FALSE(job.origins.contains("train.seed"));
  EXPECT_THAT(job.notes, IsEmpty());
}

TEST(ParseJobYaml, ReadsFlags) {
  const auto whole_word = [](const std::string& value) {
    return Parse(kExample + fmt::format("masking: {{whole_word: {}}}\n", value));
  };
  ASSERT_OK_AND_ASSIGN(ParsedJob job, whole_word("true"));
  EXPECT_TRUE(job.spec.masking.whole_word);
  EXPECT_THAT(job.origins, Contains(Pair("masking.whole_word", "job file")));
  EXPECT_OK(ApplySet(&job, "masking.whole_word=false"));
  EXPECT_FALSE(job.spec.masking.whole_word);
  for (const char* odd : {"yes", "1", "\"true\"", "True"})
    EXPECT_THAT(whole_word(odd), StatusIs(StatusCode::kInvalidArgument,
                                          HasSubstr("masking.whole_word: wants true or false")));
}

TEST(ParseJobYaml, ReadsTheQuickstartJobAndItResolves) {
  const std::string path = SourceFolder() / "examples/jobs/shakespeare.yaml";
  ASSERT_OK_AND_ASSIGN(const std::string text, ReadFile(path));
  ASSERT_OK_AND_ASSIGN(const ParsedJob job, ParseJobYaml(text, path));
  EXPECT_THAT(job.notes, IsEmpty());
  EXPECT_EQ(job.spec.data.train[0].path, "data/shakespeare/train/*.txt");
  EXPECT_EQ(job.spec.data.validation[0].path, "data/shakespeare/held-out/*.txt");
  EXPECT_OK(Resolve(job));
}

TEST(ParseJobYaml, NamesPlaceAndNearestNameOfAnUnknownKey) {
  EXPECT_EQ(ErrorOf(ExampleWith("learning_rate", "lerning_rate")),
            "job.yaml:14:3: train.lerning_rate: unknown field; did you mean learning_rate?");
  EXPECT_THAT(
      ErrorOf(ExampleWith("path: held-out.txt", "pth: held-out.txt")),
      HasSubstr("job.yaml:10:7: data.validation[0].pth: unknown field; did you mean path?"));
  EXPECT_THAT(ErrorOf(ExampleWith("{ranks: 2,", "{max_steps: 2,")),
              HasSubstr("resources.max_steps: unknown field here; did you mean train.max_steps?"));
  EXPECT_THAT(ErrorOf(ExampleWith("max_steps: 400", "num_train_epochs: 3")),
              HasSubstr("train.num_train_epochs: not a field here: give train.max_steps"));
  const auto status = Parse(ExampleWith("learning_rate", "lerning_rate")).status();
  EXPECT_EQ(FieldOf(status), "train.lerning_rate");
}

TEST(ParseJobYaml, SaysWhatItFoundWhereATypeIsWrong) {
  EXPECT_THAT(ErrorOf(ExampleWith("400", "many")),
              StartsWith("job.yaml:12:14: train.max_steps: wants an integer, found \"many\""));
  EXPECT_THAT(ErrorOf(ExampleWith("400", "\"400\"")),
              HasSubstr("wants an integer, found the text \"400\""));
  EXPECT_THAT(ErrorOf(ExampleWith("400", "4.5")), HasSubstr("wants an integer, found \"4.5\""));
  EXPECT_THAT(ErrorOf(ExampleWith("400", "99999999999999999999")), HasSubstr("64 bits"));
  EXPECT_THAT(ErrorOf(ExampleWith("400", "[400]")), HasSubstr("found a list"));
  EXPECT_THAT(ErrorOf(ExampleWith(" 400", "")), HasSubstr("found nothing"));
  EXPECT_THAT(ErrorOf(ExampleWith("3.0e-3", ".inf")), HasSubstr("wants a number"));
  EXPECT_THAT(ErrorOf(ExampleWith("3.0e-3", "1e999")), HasSubstr("wants a number"));
  EXPECT_THAT(ErrorOf(ExampleWith("[{path: plays/*.txt, format: text}]", "plays.txt")),
              HasSubstr("data.train: wants a list of maps with path, format"));
  EXPECT_THAT(ErrorOf("- a\n- b\n"), HasSubstr("a job is a map of fields"));
}

TEST(ParseJobYaml, ChecksRangesAndAllowedValues) {
  EXPECT_THAT(ErrorOf(ExampleWith("400", "0")),
              HasSubstr("train.max_steps: must be at least 1 and at most"));
  EXPECT_THAT(ErrorOf(ExampleWith("3.0e-3", "0")), HasSubstr("must be above 0 and at most 10"));
  EXPECT_THAT(ErrorOf(ExampleWith("format: text", "format: txet")),
              HasSubstr("\"txet\" is not one of auto | text | jsonl; did you mean text?"));
  EXPECT_THAT(ErrorOf(ExampleWith("kind: pretrain", "kind: pre-train")),
              HasSubstr("did you mean pretrain?"));
}

TEST(ParseJobYaml, ReportsSeveralErrorsALineEachAndAtMostTen) {
  const std::string two = ErrorOf(ExampleWith("400\n  global_batch_size: 32", "no\n  glob: 1"));
  EXPECT_THAT(two, AllOf(HasSubstr("job.yaml:12:14: train.max_steps"),
                         HasSubstr("\njob.yaml:13:3: train.glob")));
  std::string many = "name: a\ntrain:\n";
  for (int i = 0; i < 25; ++i) many += fmt::format("  wrong_{}: 1\n", i);
  const std::string report = ErrorOf(many);
  EXPECT_EQ(std::count(report.begin(), report.end(), '\n'), 10);
  EXPECT_THAT(report, HasSubstr("\nand 15 more"));
}

TEST(ParseJobYaml, RefusesAKeyGivenTwiceUnderAnyOfItsNames) {
  EXPECT_THAT(ErrorOf(ExampleWith("400", "400\n  max_steps: 500")),
              HasSubstr("job.yaml:13:3: train.max_steps: given twice (first in line 12)"));
  EXPECT_THAT(ErrorOf(ExampleWith("max_steps: 400", "max_steps: 400\n  lr: 1.0e-4")),
              HasSubstr("train.learning_rate: given twice"));
  EXPECT_THAT(ErrorOf(ExampleWith("  preset: llama-nano", "  config: {a: 1, a: 2}")),
              HasSubstr("model.config.a: given twice"));
}

TEST(ParseJobYaml, AcceptsPeersNamesWithANote) {
  ASSERT_OK_AND_ASSIGN(const ParsedJob job, Parse(ExampleWith("  max_steps: 400",
                                                              "  max_steps: 400\n"
                                                              "  per_device_train_batch_size: 4\n"
                                                              "  max_seq_length: 128\n"
                                                              "  bf16: true\n"
                                                              "  optim: adamw_torch")));
  EXPECT_EQ(job.spec.train.micro_batch_size, 4);
  EXPECT_EQ(job.spec.train.max_length, 128);
  EXPECT_EQ(job.spec.train.precision, "bf16");
  EXPECT_EQ(job.spec.train.optim, "adamw");
  EXPECT_THAT(job.notes,
              Contains("train.per_device_train_batch_size is read as train.micro_batch_size"));
}

TEST(ParseJobYaml, SaysOfAPeersKeyWithoutFieldWhatToDoInPlace) {
  for (const auto& [key, hint] : PeerKeysWithoutField())
    EXPECT_THAT(ErrorOf(ExampleWith("  max_steps: 400", "  max_steps: 400\n  " + key + ": 1")),
                HasSubstr("train." + key + ": not a field here: " + hint))
        << key;
  EXPECT_THAT(ErrorOf(std::string(kExample) + "lora_r: 8\n"),
              HasSubstr("lora_r: not a field here: adapters"));
  EXPECT_THAT(ErrorOf(std::string(kExample) + "load_in_4bit: true\nn_layer: 4\n"),
              AllOf(HasSubstr("quantised"), HasSubstr("model.config")));
  EXPECT_THAT(ErrorOf(ExampleWith("preset: llama-nano", "d_model: 64")),
              HasSubstr("model.d_model: not a field here: the shape stands in model.config"));
}

TEST(ParseJobYaml, ReadsAJobAsDescribeShowsItAndItsSpecAlone) {
  ASSERT_OK_AND_ASSIGN(const ResolvedSpec resolved, Resolve(ExampleJob()));
  // As proto's JSON writes it: 64-bit integers are texts.
  nlohmann::ordered_json spec = JobSpecToJson(resolved.spec);
  spec["train"]["max_steps"] = "400";
  spec["tokenizer"]["train"]["vocab_size"] = "4096";
  const nlohmann::ordered_json job = {{"name", "projects/default/jobs/shakespeare-1"},
                                      {"job_id", "shakespeare-1"},
                                      {"kind", "pretrain"},
                                      {"spec", spec}};
  for (const std::string& text : {job.dump(2), spec.dump()}) {
    ASSERT_OK_AND_ASSIGN(const ParsedJob read, Parse(text));
    EXPECT_EQ(JobSpecToJson(read.spec), JobSpecToJson(resolved.spec));
  }
  EXPECT_THAT(ErrorOf(ExampleWith("400", "\"400\"")), HasSubstr("wants an integer"));
}

TEST(ParseJobYaml, AcceptsAFlatFileInTheWayOfTrainingArguments) {
  ASSERT_OK_AND_ASSIGN(const ParsedJob job, Parse("name: a\nweight_decay: 0.2\nblock_size: 64\n"));
  EXPECT_EQ(job.spec.train.weight_decay, 0.2);
  EXPECT_EQ(job.spec.train.max_length, 64);
  EXPECT_THAT(job.notes, ElementsAre("weight_decay is read as train.weight_decay",
                                     "block_size is read as train.max_length"));
}

TEST(ParseJobYaml, KeepsConfigValuesInTextForm) {
  ASSERT_OK_AND_ASSIGN(
      const ParsedJob job,
      Parse("model: {config: {model_type: llama, hidden_size: 288, tie: true, odd: \"12\"}}"));
  EXPECT_THAT(job.spec.model.config,
              ElementsAre(Pair("hidden_size", "288"), Pair("model_type", "llama"),
                          Pair("odd", "\"12\""), Pair("tie", "true")));
  EXPECT_THAT(ErrorOf("model: {config: {rope_scaling: {factor: 2}}}"),
              HasSubstr("model.config.rope_scaling: wants a single value"));
}

TEST(ParseJobYaml, SaysWhichVersionItKnowsAndNothingElseOfANewerFile) {
  EXPECT_EQ(ErrorOf("version: 2\nunknown: 1\n"),
            "job.yaml:1:10: version: this build reads job files up to version 1, found version 2; "
            "use a newer Trainyard");
  EXPECT_THAT(ErrorOf("version: 0\n"), HasSubstr("version: must be at least 1"));
}

TEST(ParseJobYaml, AnEmptyGroupIsAGroupOfDefaults) {
  ASSERT_OK_AND_ASSIGN(const ParsedJob job, Parse("name: a\nevaluation:\n"));
  EXPECT_EQ(job.spec.evaluation.eval_steps, 100);
}

TEST(ParseJobYaml, BoundsSizeDepthAndAliases) {
  EXPECT_THAT(ErrorOf(std::string((1 << 20) + 1, '#')), HasSubstr("at most 1048576"));
  EXPECT_THAT(ErrorOf("a: " + std::string(200, '[')), HasSubstr("nested deeper than 24"));
  EXPECT_THAT(ErrorOf("a: " + std::string(100'000, '[')), HasSubstr("nested deeper than 24"));
  std::string bomb = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n";
  for (int i = 1; i < 12; ++i) {
    bomb += fmt::format("a{0}: &a{0} [*a{1}, *a{1}, *a{1}, *a{1}, *a{1}, *a{1}, *a{1}, *a{1}]\n", i,
                        i - 1);
  }
  EXPECT_THAT(ErrorOf(bomb), HasSubstr("aliases counted as if written out"));
  EXPECT_THAT(ErrorOf("a: &a [*a]"), HasSubstr("an alias that holds itself"));
}

TEST(ParseJobYaml, AnAliasStandsForWhatItNames) {
  ASSERT_OK_AND_ASSIGN(const ParsedJob job,
                       Parse("data:\n  train: &d [{path: a.txt}]\n  validation: *d\n"));
  EXPECT_EQ(job.spec.data.validation[0].path, "a.txt");
}

TEST(ParseJobYaml, RefusesWhatIsNotOneYamlDocumentInUtf8) {
  EXPECT_THAT(ErrorOf(""), HasSubstr("job.yaml:1:1: the file is empty"));
  EXPECT_THAT(ErrorOf("name: a\n---\nname: b\n"), HasSubstr("one document"));
  EXPECT_THAT(ErrorOf("name: a\n  kind: b\n"), HasSubstr("job.yaml:2:"));
  EXPECT_THAT(ErrorOf("name: a\nkind: \xff\n"), HasSubstr("job.yaml:2:7: not valid UTF-8"));
  EXPECT_THAT(ErrorOf(std::string("name: a\0b", 9)), HasSubstr("a NUL byte"));
  EXPECT_THAT(ErrorOf("name: \"a\\u0000b\""), HasSubstr("control character 0x00"));
  EXPECT_THAT(ErrorOf("? [a]\n: b\n"), HasSubstr("a key must be a single value"));
}

TEST(AtPosition, PutsThePlaceOfTheFieldOrItsGroupBeforeAnError) {
  const ParsedJob job = ExampleJob();
  const Status about_field = WithField(InvalidArgument("x"), "train.max_steps");
  EXPECT_EQ(MessageOf(job.AtPosition(about_field)), "job.yaml:12:3: x");
  const Status about_default = WithField(InvalidArgument("x"), "train.warmup_steps");
  EXPECT_EQ(MessageOf(job.AtPosition(about_default)), "job.yaml:11:1: x");
  EXPECT_EQ(FieldOf(job.AtPosition(about_default)), "train.warmup_steps");
  EXPECT_OK(job.AtPosition(OkStatus()));
}

}  // namespace
}  // namespace trainyard
