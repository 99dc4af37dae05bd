// Jobs of kind evaluate, by hand.
#include <gmock/gmock.h>

#include <cmath>
#include <nlohmann/json.hpp>

#include "common/files.h"
#include "tests/support/status_matchers.h"
#include "tests/worker/loop/tiny_job.h"

namespace trainyard::worker {
namespace {

namespace fs = std::filesystem;
using testing::HasSubstr;

class EvaluateJob : public testing::Test {
 protected:
  void SetUp() override {
    ASSERT_OK_AND_ASSIGN(const int code, job_.Run("model"));
    ASSERT_EQ(code, 0);
    ASSERT_OK_AND_ASSIGN(model_, job_.CheckpointOf("model", 12));
    ASSERT_OK(
        WriteFileAtomically(job_.folder() / "rows.jsonl",
                            "{\"text\": \"In the winter\"}\n{\"text\": \" the old garden \"}\n"));
    ASSERT_OK(WriteFileAtomically(file_, fmt::format(R"(version: 1
name: tiny
kind: evaluate
model: {{from: {0}}}
data:
  validation: [{{path: {1}/validation.txt}}, {{path: {1}/rows.jsonl}}]
train: {{precision: fp32}}
)",
                                                     model_.string(), job_.folder().string())));
  }
  StatusOr<int> Run(const std::string& out, const std::vector<std::string>& more,
                    std::string* output) const {
    ProcessOptions options{.command = {TrainerProgram(), "run", file_, "--out", job_.Out(out)}};
    options.command.insert(options.command.end(), more.begin(), more.end());
    ASSIGN_OR_RETURN(Process process, Process::Start(options));
    const StatusOr<int> code = process.Wait();
    *output = process.output();
    return code;
  }
  StatusOr<nlohmann::json> Report(const std::string& out) const {
    ASSIGN_OR_RETURN(const fs::path folder, job_.CheckpointOf(out, 1));
    ASSIGN_OR_RETURN(const std::string text, ReadFile(folder / "report.json"));
    return nlohmann::json::parse(text);
  }

  const TinyJob job_;
  fs::path model_;
  const fs::path file_ = job_.folder() / "evaluate.yaml";
};

TEST_F(EvaluateJob, WritesAReportOfEverySource) {
  std::string output;
  ASSERT_OK_AND_ASSIGN(const int code, Run("out", {}, &output));
  ASSERT_EQ(code, 0) << output;
  ASSERT_OK_AND_ASSIGN(const nlohmann::json report, Report("out"));
  EXPECT_EQ(report["setting"]["max_length"], 64);  // the model's places
  EXPECT_EQ(report["setting"]["precision"], "fp32");
  EXPECT_EQ(report["setting"]["prefix_token"], "<|endoftext|>");
  EXPECT_EQ(report["setting"]["semantics"]["name"], "lm-evaluation-harness");
  EXPECT_EQ(report["setting"]["semantics"]["version"], "0.4.13");
  ASSERT_EQ(report["sources"].size(), 2u);
  EXPECT_EQ(report["sources"][0]["results"]["bytes"],
            fs::file_size(job_.folder() / "validation.txt"));
  const auto& rows = report["sources"][1];
  EXPECT_EQ(rows["documents"].size(), 2u);
  EXPECT_EQ(rows["documents"][0]["words"], 3);
  EXPECT_EQ(rows["documents"][1]["words"], 5);  // as Python's re.split counts
  // Better than bytes drawn evenly, and about what the training job said of the same text, whose
  // rows are cut elsewhere.
  const double bits = report["sources"][0]["results"]["bits_per_byte"];
  EXPECT_LT(bits, 8);
  EXPECT_NEAR(bits, job_.Metric("model", "eval_bits_per_byte").at(12), 0.15 * bits);
  EXPECT_NEAR(job_.Metric("out", "eval_bits_per_byte").at(1), report["results"]["bits_per_byte"],
              1e-9);
  ASSERT_OK_AND_ASSIGN(const fs::path folder, job_.CheckpointOf("out", 1));
  EXPECT_THAT(*ReadFile(folder / "report.txt"),
              AllOf(HasSubstr("as lm-evaluation-harness 0.4.13 counts\n"), HasSubstr("\nall ")));
  EXPECT_THAT(output, HasSubstr("succeeded: word perplexity "));
}

TEST_F(EvaluateJob, ShorterWindowsFindTextsLessLikely) {
  std::string output;
  ASSERT_OK_AND_ASSIGN(int code, Run("long", {}, &output));
  ASSERT_EQ(code, 0) << output;
  ASSERT_OK_AND_ASSIGN(code, Run("short", {"--set", "evaluation.max_length=4"}, &output));
  ASSERT_EQ(code, 0) << output;
  const auto whole = Report("long"), cut = Report("short");
  ASSERT_OK(whole);
  ASSERT_OK(cut);
  EXPECT_EQ((*whole)["results"]["tokens"], (*cut)["results"]["tokens"]);
  EXPECT_LT((*whole)["results"]["bits_per_byte"].get<double>(),
            (*cut)["results"]["bits_per_byte"].get<double>());
}

TEST_F(EvaluateJob, RefusesWhatCannotBe) {
  std::string output;
  ASSERT_OK_AND_ASSIGN(int code, Run("a", {"--set", "evaluation.max_length=65"}, &output));
  EXPECT_EQ(code, 1);
  EXPECT_THAT(output, HasSubstr("evaluation.max_length is 65, but the model has positions for 64"));
  ASSERT_OK_AND_ASSIGN(code, Run("b", {"--set", "tokenizer.train.vocab_size=300"}, &output));
  EXPECT_EQ(code, 2);
  EXPECT_THAT(output, HasSubstr("tokenizer.train: a model is evaluated with the tokenizer"));
}

}  // namespace
}  // namespace trainyard::worker
