// Jobs that go on from a model folder, by hand and as submitted.
#include <gmock/gmock.h>

#include <nlohmann/json.hpp>

#include "common/files.h"
#include "tests/support/status_matchers.h"
#include "tests/worker/loop/tiny_job.h"

namespace trainyard::worker {
namespace {

namespace fs = std::filesystem;
using testing::ContainsRegex;
using testing::HasSubstr;

// A tiny job's last checkpoint, and a second job that goes on from a copy of it.
class ModelFrom : public testing::Test {
 protected:
  void SetUp() override {
    ASSERT_OK_AND_ASSIGN(const int code, job_.Run("first"));
    ASSERT_EQ(code, 0);
    ASSERT_OK_AND_ASSIGN(const fs::path checkpoint, job_.CheckpointOf("first", 12));
    fs::copy(checkpoint, model_, fs::copy_options::recursive);
    ASSERT_OK(WriteFileAtomically(file_, fmt::format(R"(version: 1
name: tiny
kind: pretrain
model: {{from: {0}/model}}
data:
  train: [{{path: {0}/train.txt, format: text}}]
  validation: [{{path: {0}/validation.txt, format: text}}]
train: {{max_steps: 1, global_batch_size: 8, micro_batch_size: 4, max_length: 64,
        learning_rate: 1.0e-12, seed: 8, precision: fp32}}
evaluation: {{max_rows: 8}}
)",
                                                     job_.folder().string())));
  }

  // The second job, in OUT; its exit code.
  StatusOr<int> Run(const std::string& out, const std::vector<std::string>& more = {},
                    std::string* output = nullptr) const {
    ProcessOptions options{.command = {TrainerProgram(), "run", file_, "--out", job_.Out(out)},
                           .secret = ""};
    options.command.insert(options.command.end(), more.begin(), more.end());
    ASSIGN_OR_RETURN(Process process, Process::Start(options));
    const StatusOr<int> code = process.Wait();
    if (output != nullptr) *output = process.output();
    return code;
  }

  const TinyJob job_;
  const fs::path model_ = job_.folder() / "model";
  const fs::path file_ = job_.folder() / "second.yaml";
};

TEST_F(ModelFrom, GoesOnFromTheWeightsWithTheModelsOwnTokenizer) {
  ASSERT_OK(WriteFileAtomically(model_ / "chat_template.jinja", "{{ messages[0].content }}"));
  ASSERT_OK(WriteFileAtomically(model_ / "generation_config.json", R"({"temperature": 0.5})"));
  fs::create_directory(model_ / "additional_chat_templates");
  ASSERT_OK(WriteFileAtomically(model_ / "additional_chat_templates/rag.jinja", "{{ documents }}"));
  std::string output;
  ASSERT_OK_AND_ASSIGN(const int code, Run("second", {}, &output));
  ASSERT_EQ(code, 0) << output;
  // The step changes nothing that float32 shows: it ends where the first job ended.
  EXPECT_NEAR(job_.Metric("second", "eval_loss").at(1), job_.Metric("first", "eval_loss").at(12),
              1e-5);
  EXPECT_LT(job_.Metric("second", "loss").at(1), job_.Metric("first", "loss").at(1) - 1);

  ASSERT_OK_AND_ASSIGN(const fs::path checkpoint, job_.CheckpointOf("second", 1));
  for (const char* name : {"tokenizer.json", "tokenizer_config.json", "chat_template.jinja",
                           "generation_config.json", "additional_chat_templates/rag.jinja"})
    EXPECT_EQ(*ReadFile(checkpoint / name), *ReadFile(model_ / name)) << name;
  const auto config = nlohmann::json::parse(*ReadFile(checkpoint / "config.json"));
  EXPECT_EQ(config["eos_token_id"], 0);
  EXPECT_EQ(config["vocab_size"], 512);
  EXPECT_THAT(*ReadFile(checkpoint / "README.md"), HasSubstr("Trained further on"));
}

TEST_F(ModelFrom, ResumesFromItsOwnCheckpoint) {
  const std::vector<std::string> more = {"--set", "train.max_steps=4",
                                         "--set", "checkpoint.save_steps=2",
                                         "--set", "train.lr_scheduler_type=constant",
                                         "--set", "train.learning_rate=1e-3"};
  ASSERT_OK_AND_ASSIGN(int code, Run("whole", more));
  ASSERT_EQ(code, 0);
  std::vector<std::string> half = more, rest = more;
  half[1] = "train.max_steps=2";
  rest.push_back("--resume");
  ASSERT_OK_AND_ASSIGN(code, Run("parts", half));
  ASSERT_EQ(code, 0);
  ASSERT_OK_AND_ASSIGN(code, Run("parts", rest));
  ASSERT_EQ(code, 0);
  for (const int step : {3, 4}) {
    EXPECT_EQ(job_.Metric("parts", "loss").at(step), job_.Metric("whole", "loss").at(step));
  }
}

TEST_F(ModelFrom, GoesOnFromAGgufFileToo) {
  ASSERT_OK_AND_ASSIGN(Process exporting,
                       Process::Start({.command = {TrainerProgram(), "tool", "model", "export",
                                                   model_, job_.folder() / "model.gguf", "--format",
                                                   "gguf", "--type", "f32"}}));
  ASSERT_OK_AND_ASSIGN(int code, exporting.Wait());
  ASSERT_EQ(code, 0) << exporting.output();
  std::string output;
  ASSERT_OK_AND_ASSIGN(
      code, Run("gguf", {"--set", fmt::format("model.from={}/model.gguf", job_.folder().string())},
                &output));
  ASSERT_EQ(code, 0) << output;
  EXPECT_NEAR(job_.Metric("gguf", "eval_loss").at(1), job_.Metric("first", "eval_loss").at(12),
              1e-5);
  // A checkpoint has the tokenizer that was made of the file's vocabulary.
  ASSERT_OK_AND_ASSIGN(const fs::path checkpoint, job_.CheckpointOf("gguf", 1));
  const auto config = nlohmann::json::parse(*ReadFile(checkpoint / "tokenizer_config.json"));
  EXPECT_EQ(config["eos_token"], "<|endoftext|>");
}

TEST_F(ModelFrom, RefusesWhatDoesNotFitTogether) {
  std::string output;
  ASSERT_OK_AND_ASSIGN(int code, Run("a", {"--set", "tokenizer.train.vocab_size=600"}, &output));
  EXPECT_EQ(code, 1);
  EXPECT_THAT(output, ContainsRegex("BAD_INPUT: model.from: the tokenizer has 600 tokens, the "
                                    "model's embedding 512 rows"));
  ASSERT_OK_AND_ASSIGN(code, Run("b", {"--set", "objective=masked"}, &output));
  EXPECT_EQ(code, 1);
  EXPECT_THAT(output, HasSubstr("objective masked: the tokenizer has no mask token"));
  ASSERT_OK_AND_ASSIGN(code, Run("c", {"--set", "train.max_length=65"}, &output));
  EXPECT_EQ(code, 1);
  EXPECT_THAT(output, HasSubstr("positions for 64 tokens"));
  ASSERT_OK_AND_ASSIGN(code, Run("d", {"--set", "model.from=job:tiny@latest"}, &output));
  EXPECT_EQ(code, 2);
  EXPECT_THAT(output, HasSubstr("model.from: job:tiny@latest is known to a coordinator only"));

  fs::remove(model_ / "tokenizer.json");
  ASSERT_OK_AND_ASSIGN(code, Run("e", {}, &output));
  EXPECT_EQ(code, 1);
  EXPECT_THAT(output, HasSubstr("brings no tokenizer.json: give tokenizer.from"));
  fs::remove(model_ / "model.safetensors");
  ASSERT_OK_AND_ASSIGN(code, Run("f", {}, &output));
  EXPECT_EQ(code, 3);
  EXPECT_THAT(output, HasSubstr("model.from: "));
}

}  // namespace
}  // namespace trainyard::worker
