// trainyard-trainer run: a job by hand, as a process, through the real engine.
#include <gmock/gmock.h>
#include <signal.h>

#include <cmath>
#include <fstream>
#include <map>

#include "common/files.h"
#include "common/rng.h"
#include "tests/support/places.h"
#include "tests/support/status_matchers.h"
#include "tests/worker/loop/tiny_job.h"
#include "worker/data/prepare.h"

namespace trainyard::worker {
namespace {

namespace fs = std::filesystem;
using testing::ContainsRegex;
using testing::HasSubstr;
using testing::Not;

constexpr int kExitFailed = 1, kExitUsage = 2, kExitConflict = 6, kExitStopped = 130;

// Nats per token of a model that knows how often each token occurs and nothing else.
double UnigramNats(const fs::path& out) {
  for (const auto& entry : fs::directory_iterator(out / "prepared")) {
    const StatusOr<PreparedData> data = OpenPrepared(entry.path());
    if (!data.ok()) continue;
    std::map<int32_t, double> counts;
    double tokens = 0;
    for (const LoaderSource& source : data->train) {
      for (const auto& shard : source.shards) {
        for (int64_t i = 0; i < shard->tokens(); ++i) ++counts[shard->token(i)];
        tokens += static_cast<double>(shard->tokens());
      }
    }
    double nats = 0;
    for (const auto& [token, count] : counts) nats -= count / tokens * std::log(count / tokens);
    return nats;
  }
  return 0;
}

void FlipByte(const fs::path& path, int64_t offset) {
  std::fstream file(path, std::ios::in | std::ios::out | std::ios::binary);
  file.seekg(offset);
  const char byte = static_cast<char>(file.get() ^ 0x10);
  file.seekp(offset);
  file.put(byte);
  ASSERT_TRUE(file.good());
}

TEST(ByHand, WithItsKernelsOffHasTheSameCurve) {
  const TinyJob job;
  for (const auto& [precision, rounding] : {std::pair{"fp32", 1e-4}, std::pair{"bf16", 1e-2}}) {
    const std::string on = fmt::format("on-{}", precision), off = fmt::format("off-{}", precision);
    const std::vector<std::string> set = {"--set", fmt::format("train.precision={}", precision)};
    std::string output;
    ASSERT_OK_AND_ASSIGN(const int code, job.Run(on, set, &output));
    ASSERT_EQ(code, 0) << output;
    EXPECT_THAT(output, Not(HasSubstr("kernels=off")));
    ::setenv("TRAINYARD_KERNELS", "off", /*overwrite=*/1);
    const StatusOr<int> code_off = job.Run(off, set, &output);
    ::unsetenv("TRAINYARD_KERNELS");
    ASSERT_OK(code_off);
    ASSERT_EQ(*code_off, 0) << output;
    EXPECT_THAT(output, HasSubstr("kernels=off"));
    const Curve with = job.Metric(on, "loss"), without = job.Metric(off, "loss");
    ASSERT_GT(with.size(), 3u);
    for (const auto& [step, loss] : with) {
      EXPECT_NEAR(without.at(step), loss, rounding * loss) << precision << " at step " << step;
    }
  }
}

TEST(ByHand, AutoMeasuresOnceNamesBothRatesAndAResumeKeepsTheChoice) {
  const TinyJob job;
  const std::vector<std::string> set = {"--set", "train.precision=auto", "--set",
                                        "train.max_steps=4"};
  std::string output;
  ASSERT_OK_AND_ASSIGN(int code, job.Run("out", set, &output));
  ASSERT_EQ(code, 0) << output;
  EXPECT_THAT(output,
              ContainsRegex("train.precision: auto is (fp32|bf16), measured: fp32 [0-9.e+]+ "
                            "tokens/s, bf16 [0-9.e+]+ tokens/s"));
  ASSERT_TRUE(fs::exists(job.Out("out") / "paces.json"));
  const bool bf16 = output.find("precision=bf16") != std::string::npos;

  // A measurement would mend this file.
  ASSERT_OK(WriteFileAtomically(job.Out("out") / "paces.json", "damaged"));
  std::vector<std::string> more = {"--resume", "--set", "train.precision=auto", "--set",
                                   "train.max_steps=6"};
  ASSERT_OK_AND_ASSIGN(code, job.Run("out", more, &output));
  ASSERT_EQ(code, 0) << output;
  EXPECT_THAT(output, HasSubstr(bf16 ? "auto is bf16, as " : "auto is fp32, as "));
  EXPECT_THAT(output, HasSubstr("was trained"));
  EXPECT_EQ(*ReadFile(job.Out("out") / "paces.json"), "damaged") << "nothing was measured";
}

TEST(ByHand, ANamedPrecisionMeasuresNothing) {
  const TinyJob job;
  std::string output;
  ASSERT_OK_AND_ASSIGN(const int code, job.Run("out", {"--set", "train.max_steps=4"}, &output));
  ASSERT_EQ(code, 0) << output;
  EXPECT_THAT(output, Not(HasSubstr("measured")));
  EXPECT_FALSE(fs::exists(job.Out("out") / "paces.json"));
}

TEST(ByHand, LearnsMoreThanHowOftenEachTokenOccurs) {
  const TinyJob job;
  std::string output;
  ASSERT_OK_AND_ASSIGN(
      const int code,
      job.Run("out", {"--set", "train.max_steps=60", "--set", "checkpoint.save_steps=0"}, &output));
  ASSERT_EQ(code, 0) << output;
  const Curve loss = job.Metric("out", "loss");
  ASSERT_EQ(loss.size(), 60u);
  // A fresh model knows nothing: ln 512 = 6.24 within 3 %.
  EXPECT_NEAR(loss.at(1), std::log(512), 0.03 * std::log(512));
  const double unigram = UnigramNats(job.Out("out"));
  EXPECT_GT(unigram, 3);
  EXPECT_LT(loss.at(60), 0.75 * unigram) << output;
  const Curve eval = job.Metric("out", "eval_loss");
  EXPECT_LT(eval.at(60), 0.75 * unigram);
  EXPECT_NEAR(job.Metric("out", "eval_perplexity").at(60), std::exp(eval.at(60)), 1e-6);
  EXPECT_GT(job.Metric("out", "eval_bits_per_byte").at(60), 0.1);
  EXPECT_NEAR(job.Metric("out", "tokens_total").at(60), 60 * 8 * 64, 1e-6);
}

TEST(ByHand, LearnsTinyShakespeare) {
  const fs::path text = SourceFolder() / "../shared/data/text/tinyshakespeare.txt";
  if (!fs::exists(text)) GTEST_SKIP() << "no " << text;
  const TinyJob job;
  ASSERT_OK_AND_ASSIGN(const std::string all, ReadFile(text));
  ASSERT_OK(WriteFileAtomically(job.folder() / "train.txt", all.substr(0, 150'000)));
  std::string output;
  ASSERT_OK_AND_ASSIGN(
      const int code,
      job.Run("out", {"--set", "train.max_steps=150", "--set", "train.logging_steps=10"}, &output));
  ASSERT_EQ(code, 0) << output;
  EXPECT_LT(job.Metric("out", "loss").at(150), UnigramNats(job.Out("out")) - 0.4) << output;
}

TEST(ByHand, TwoRunsAreTheSameBits) {
  const TinyJob job;
  ASSERT_OK_AND_ASSIGN(int code, job.Run("a"));
  ASSERT_EQ(code, 0);
  ASSERT_OK_AND_ASSIGN(code, job.Run("b"));
  ASSERT_EQ(code, 0);
  ASSERT_OK_AND_ASSIGN(const std::string a, job.WeightsOf("a", 12));
  ASSERT_OK_AND_ASSIGN(const std::string b, job.WeightsOf("b", 12));
  EXPECT_EQ(a, b);
  EXPECT_EQ(job.Metric("a", "loss"), job.Metric("b", "loss"));
}

TEST(ByHand, StopsOnSigtermWithACheckpointAndGoesOnToTheSameBits) {
  const TinyJob job;
  ASSERT_OK_AND_ASSIGN(int code, job.Run("whole"));
  ASSERT_EQ(code, 0);
  ASSERT_OK_AND_ASSIGN(Process process, job.Start("parts"));
  ASSERT_TRUE(process.ReadUntil("step=2 loss"));
  process.Signal(SIGTERM);
  ASSERT_OK_AND_ASSIGN(code, process.Wait());
  EXPECT_EQ(code, kExitStopped) << process.output();
  EXPECT_THAT(process.output(), HasSubstr("stopped STOPPED: stopped after step"));
  // The machine may be quick: at worst the job was over.
  const int64_t stopped_at = job.Metric("parts", "loss").rbegin()->first;
  EXPECT_LT(stopped_at, 12);
  EXPECT_OK(job.CheckpointOf("parts", stopped_at));

  std::string output;
  ASSERT_OK_AND_ASSIGN(code, job.Run("parts", {"--resume"}, &output));
  ASSERT_EQ(code, 0) << output;
  EXPECT_THAT(output, HasSubstr(fmt::format("step={} resumed=", stopped_at)));
  ASSERT_OK_AND_ASSIGN(const std::string whole, job.WeightsOf("whole", 12));
  ASSERT_OK_AND_ASSIGN(const std::string parts, job.WeightsOf("parts", 12));
  EXPECT_EQ(whole, parts);
  EXPECT_EQ(job.Metric("whole", "loss"), job.Metric("parts", "loss"));
  EXPECT_EQ(job.Metric("whole", "eval_loss"), job.Metric("parts", "eval_loss"));
}

TEST(ByHand, KilledAnywhereItGoesOnToTheSameBits) {
  const TinyJob job;
  ASSERT_OK_AND_ASSIGN(int code, job.Run("whole"));
  ASSERT_EQ(code, 0);
  ASSERT_OK_AND_ASSIGN(const std::string whole, job.WeightsOf("whole", 12));
  const Rng rng{.seed = 3, .purpose = Purpose::kSample};
  const std::vector<std::string> moments = {"preparing=",        "step=1 loss", "step=4 loss",
                                            "step=4 checkpoint", "step=6 eval", "step=9 loss"};
  for (uint64_t round = 0; round < 2; ++round) {
    const std::string out = fmt::format("killed-{}", round);
    std::vector<std::string> more;
    for (uint64_t kill = 0; kill < 2; ++kill) {
      const std::string& moment = moments[rng.Below(moments.size(), round, kill)];
      ASSERT_OK_AND_ASSIGN(Process process, job.Start(out, more));
      process.ReadUntil(moment);  // false: it was past that moment already, and is over
      process.Signal(SIGKILL);
      ASSERT_OK(process.Wait());
      more = {"--resume"};
    }
    std::string output;
    ASSERT_OK_AND_ASSIGN(code, job.Run(out, more, &output));
    ASSERT_EQ(code, 0) << output;
    ASSERT_OK_AND_ASSIGN(const std::string killed, job.WeightsOf(out, 12));
    EXPECT_EQ(whole, killed) << "round " << round;
  }
}

TEST(ByHand, KilledWhileACheckpointIsWrittenBelievesItOnlyIfItWasRecorded) {
  const TinyJob job;
  ASSERT_OK_AND_ASSIGN(int code, job.Run("whole"));
  ASSERT_EQ(code, 0);
  ASSERT_OK_AND_ASSIGN(const std::string whole, job.WeightsOf("whole", 12));
  ASSERT_OK_AND_ASSIGN(Process process, job.Start("killed"));
  ASSERT_TRUE(process.ReadUntil("step=4 copied")) << process.output();
  process.Signal(SIGKILL);
  ASSERT_OK(process.Wait());
  // Of step 4 in nearly every run nothing; where the writer was quicker, all.
  const bool recorded =
      fs::exists(job.Out("killed") / "recorded.json") &&
      ReadFile(job.Out("killed") / "recorded.json")->find("step-00000004-a1") != std::string::npos;
  std::string output;
  ASSERT_OK_AND_ASSIGN(code, job.Run("killed", {"--resume"}, &output));
  ASSERT_EQ(code, 0) << output;
  EXPECT_EQ(output.find("step=4 resumed=") != std::string::npos, recorded) << output;
  const fs::path left = job.Out("killed") / "checkpoints/tiny/step-00000004-a1";
  EXPECT_EQ(fs::exists(left), recorded);
  ASSERT_OK_AND_ASSIGN(const std::string killed, job.WeightsOf("killed", 12));
  EXPECT_EQ(whole, killed);
}

const std::vector<std::string> kMuon = {"--set", "train.optim=muon"};

// Which of the two optimisers needs fewer steps is bench/muon.py's to say.
TEST(ByHand, MuonLearnsMoreThanHowOftenEachTokenOccurs) {
  const TinyJob job;
  std::string output;
  ASSERT_OK_AND_ASSIGN(const int code,
                       job.Run("out",
                               {"--set", "train.optim=muon", "--set", "train.max_steps=60", "--set",
                                "checkpoint.save_steps=0"},
                               &output));
  ASSERT_EQ(code, 0) << output;
  EXPECT_LT(job.Metric("out", "eval_loss").at(60), 0.7 * UnigramNats(job.Out("out")));
}

TEST(ByHand, MuonGoesOnToTheSameBitsAndNotAsAdamW) {
  const TinyJob job;
  ASSERT_OK_AND_ASSIGN(int code, job.Run("whole", kMuon));
  ASSERT_EQ(code, 0);
  ASSERT_OK_AND_ASSIGN(Process process, job.Start("parts", kMuon));
  // By then the checkpoint of step 4 is written and recorded.
  ASSERT_TRUE(process.ReadUntil("step=8 copied"));
  process.Signal(SIGKILL);
  ASSERT_OK(process.Wait());
  std::string output;
  ASSERT_OK_AND_ASSIGN(code, job.Run("parts", {"--resume"}, &output));
  EXPECT_EQ(code, kExitFailed);
  EXPECT_THAT(output,
              ContainsRegex("train.optim is adamw, but checkpoint .* was written with muon"));
  ASSERT_OK_AND_ASSIGN(code, job.Run("parts", {"--resume", kMuon[0], kMuon[1]}, &output));
  ASSERT_EQ(code, 0) << output;
  ASSERT_OK_AND_ASSIGN(const std::string whole, job.WeightsOf("whole", 12));
  ASSERT_OK_AND_ASSIGN(const std::string parts, job.WeightsOf("parts", 12));
  EXPECT_EQ(whole, parts);
}

TEST(ByHand, RefusesADamagedCheckpointByNameAndUsesTheOneBefore) {
  const TinyJob job;
  ASSERT_OK_AND_ASSIGN(int code, job.Run("out"));
  ASSERT_EQ(code, 0);
  ASSERT_OK_AND_ASSIGN(const std::string undamaged, job.WeightsOf("out", 12));
  for (const int64_t step : {12, 8}) {
    ASSERT_OK_AND_ASSIGN(const fs::path folder, job.CheckpointOf("out", step));
    FlipByte(folder / "model.safetensors", 9000);
  }
  std::string output;
  ASSERT_OK_AND_ASSIGN(code, job.Run("out", {"--resume"}, &output));
  ASSERT_EQ(code, 0) << output;
  EXPECT_THAT(output, ContainsRegex("refused: checkpoint .*step-00000012-a1.*model.safetensors"));
  EXPECT_THAT(output, ContainsRegex("refused: checkpoint .*step-00000008-a1.*model.safetensors"));
  EXPECT_THAT(output, HasSubstr("step=4 resumed="));
  ASSERT_OK_AND_ASSIGN(const std::string again, job.WeightsOf("out", 12));
  EXPECT_EQ(undamaged, again);
}

TEST(ByHand, FailsByNameWhenEveryCheckpointIsDamaged) {
  const TinyJob job;
  ASSERT_OK_AND_ASSIGN(int code, job.Run("out", {"--set", "checkpoint.save_steps=0"}));
  ASSERT_EQ(code, 0);
  ASSERT_OK_AND_ASSIGN(const fs::path folder, job.CheckpointOf("out", 12));
  fs::resize_file(folder / "trainyard" / "optimizer-policy.safetensors", 1000);
  std::string output;
  ASSERT_OK_AND_ASSIGN(code, job.Run("out", {"--resume"}, &output));
  EXPECT_EQ(code, kExitFailed);
  EXPECT_THAT(output, HasSubstr("optimizer-policy.safetensors"));
}

TEST(ByHand, PreparesAgainWhatWasDamaged) {
  const TinyJob job;
  ASSERT_OK_AND_ASSIGN(int code, job.Run("out"));
  ASSERT_EQ(code, 0);
  ASSERT_OK_AND_ASSIGN(const std::string whole, job.WeightsOf("out", 12));
  for (const auto& entry : fs::directory_iterator(job.Out("out") / "prepared")) {
    FlipByte(entry.path() / "train-000-00000.tok", 5000);
  }
  fs::remove_all(job.Out("out") / "checkpoints");
  fs::remove(job.Out("out") / "recorded.json");
  std::string output;
  ASSERT_OK_AND_ASSIGN(code, job.Run("out", {}, &output));
  ASSERT_EQ(code, 0) << output;
  EXPECT_THAT(output, ContainsRegex("preparing the data again: .*train-000-00000.tok"));
  ASSERT_OK_AND_ASSIGN(const std::string again, job.WeightsOf("out", 12));
  EXPECT_EQ(whole, again);
}

TEST(ByHand, AFullDiskLosesACheckpointButNotTheJob) {
  const TinyJob job;
  // The optimiser's file (1 MB) does not fit, everything else does; the job is told to stop so that
  // it does not wait for its last checkpoint.
  ASSERT_OK_AND_ASSIGN(Process process, job.Start("out", {"--set", "train.max_steps=500"},
                                                  /*file_bytes_max=*/700'000));
  EXPECT_TRUE(process.ReadUntil("the checkpoint of step 4 is not written"));
  EXPECT_TRUE(process.ReadUntil("step=9 loss")) << process.output();
  EXPECT_THAT(job.CheckpointOf("out", 4), StatusIs(StatusCode::kNotFound, HasSubstr("step 4")));
  process.Signal(SIGTERM);
  EXPECT_TRUE(process.ReadUntil("with a checkpoint; once more stops at once"));
  process.Signal(SIGTERM);
  ASSERT_OK_AND_ASSIGN(const int code, process.Wait());
  EXPECT_EQ(code, kExitStopped) << process.output();
}

TEST(ByHand, GivesUpWhenTheLossIsNoNumberAnyMore) {
  const TinyJob job;
  std::string output;
  // Weights grow a hundredfold a step: their products overflow.
  ASSERT_OK_AND_ASSIGN(const int code,
                       job.Run("out",
                               {"--set", "train.learning_rate=10", "--set", "train.weight_decay=10",
                                "--set", "train.min_lr_ratio=1"},
                               &output));
  EXPECT_EQ(code, kExitFailed);
  EXPECT_THAT(output, HasSubstr("failed LOSS_NOT_FINITE"));
  EXPECT_THAT(output, ContainsRegex("the gradient of [a-z0-9_.]+ is not finite"));
  EXPECT_THAT(output, HasSubstr("5 in a row"));
}

TEST(ByHand, KeepsAsManyCheckpointsAsAskedFor) {
  const TinyJob job;
  ASSERT_OK_AND_ASSIGN(const int code, job.Run("out", {"--set", "checkpoint.save_total_limit=1"}));
  ASSERT_EQ(code, 0);
  EXPECT_THAT(job.CheckpointOf("out", 8), StatusIs(StatusCode::kNotFound, HasSubstr("step 8")));
  EXPECT_OK(job.CheckpointOf("out", 12));
}

TEST(ByHand, GoesNoStepFurtherAfterTheLast) {
  const TinyJob job;
  ASSERT_OK_AND_ASSIGN(int code, job.Run("out"));
  ASSERT_EQ(code, 0);
  std::string output;
  ASSERT_OK_AND_ASSIGN(code, job.Run("out", {"--resume"}, &output));
  EXPECT_EQ(code, 0) << output;
  EXPECT_THAT(output, Not(HasSubstr("loss=")));
}

TEST(ByHand, ATextThatIsTooSmallForTheVocabularyTrainsTheOneItHas) {
  const TinyJob job;
  std::string output;
  // 60 kB of 60-odd words do not make 5000 pieces.
  ASSERT_OK_AND_ASSIGN(const int code,
                       job.Run("a", {"--set", "tokenizer.train.vocab_size=5000"}, &output));
  EXPECT_EQ(code, 0) << output;
  EXPECT_THAT(output, ContainsRegex("supports a vocabulary of [0-9]+ entries, "
                                    "tokenizer.train.vocab_size asks for 5000"));
}

TEST(ByHand, RefusesWhatCannotWorkAndSaysWhatToDo) {
  const TinyJob job;
  std::string output;
  ASSERT_OK_AND_ASSIGN(int code, job.Run("b", {"--set", "train.max_length=65"}, &output));
  EXPECT_EQ(code, kExitUsage);
  EXPECT_THAT(output, HasSubstr("train.max_length"));

  ASSERT_OK_AND_ASSIGN(code, job.Run("c", {"--set", "model.config.vocab_size=300"}, &output));
  EXPECT_EQ(code, kExitFailed);
  EXPECT_THAT(output, HasSubstr("model.config.vocab_size is 300"));

  ASSERT_OK(WriteFileAtomically(job.folder() / "train.txt", "good text\xff bad"));
  ASSERT_OK_AND_ASSIGN(code, job.Run("d", {}, &output));
  EXPECT_EQ(code, kExitFailed);
  EXPECT_THAT(output, ContainsRegex("train.txt.*9"));

  fs::remove(job.folder() / "train.txt");
  ASSERT_OK_AND_ASSIGN(code, job.Run("e", {}, &output));
  EXPECT_EQ(code, 3);
  EXPECT_THAT(output, HasSubstr("matches no file"));

  ASSERT_OK_AND_ASSIGN(code, job.Run("f", {"--no-such-flag"}, &output));
  EXPECT_EQ(code, kExitUsage);
}

TEST(ByHand, DoesNotOverwriteAnEarlierRunUnasked) {
  const TinyJob job;
  ASSERT_OK_AND_ASSIGN(int code, job.Run("out"));
  ASSERT_EQ(code, 0);
  std::string output;
  ASSERT_OK_AND_ASSIGN(code, job.Run("out", {}, &output));
  EXPECT_EQ(code, kExitConflict);
  EXPECT_THAT(output, HasSubstr("--resume"));
  // Other data under the same checkpoints is another job.
  ASSERT_OK(WriteFileAtomically(job.folder() / "train.txt", GrammarText(60'000, 9)));
  ASSERT_OK_AND_ASSIGN(code, job.Run("out", {"--resume", "--set", "train.max_steps=14"}, &output));
  EXPECT_EQ(code, kExitFailed);
  EXPECT_THAT(output, HasSubstr("was trained on another"));
}

}  // namespace
}  // namespace trainyard::worker
