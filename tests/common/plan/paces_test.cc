#include <gmock/gmock.h>

#include <cstdlib>
#include <limits>
#include <map>

#include "common/plan/arithmetic.h"
#include "common/plan/kept_paces.h"
#include "common/plan/number_format.h"
#include "common/plan/probe.h"
#include "tests/common/model/tiny_models.h"
#include "tests/support/status_matchers.h"

namespace trainyard::plan {
namespace {

using testing::HasSubstr;

// GPT-2's 124M, as its training of 4 x 512 tokens.
StepShape Gpt2Step() {
  StepShape step;
  const auto config = ModelConfigFromJson({{"model_type", "gpt2"},
                                           {"vocab_size", 50304},
                                           {"n_embd", 768},
                                           {"n_layer", 12},
                                           {"n_head", 12},
                                           {"n_positions", 1024}});
  EXPECT_OK(config.status());
  step.model = *config;
  step.rows = 4;
  step.length = 512;
  step.threads = 2;
  return step;
}

TEST(NumberFormat, TheFasterOneIsChosenAndBothRatesAreNamed) {
  const NumberFormat slow = ChooseNumberFormat({.fp32 = 5123.4, .bf16 = 2040}, true, "");
  EXPECT_FALSE(slow.bfloat16) << "whatever the flags say";
  EXPECT_EQ(slow.why, "measured: fp32 5123 tokens/s, bf16 2040 tokens/s");
  const NumberFormat fast = ChooseNumberFormat({.fp32 = 5.1234, .bf16 = 20.4}, false, "");
  EXPECT_TRUE(fast.bfloat16);
  EXPECT_EQ(fast.why, "measured: fp32 5.12 tokens/s, bf16 20.4 tokens/s");
}

TEST(NumberFormat, ATieIsFloat32sWhichRoundsLess) {
  EXPECT_FALSE(ChooseNumberFormat({.fp32 = 100, .bf16 = 100}, true, "").bfloat16);
  EXPECT_FALSE(ChooseNumberFormat({.fp32 = 100, .bf16 = 101.9}, true, "").bfloat16);
  EXPECT_TRUE(ChooseNumberFormat({.fp32 = 100, .bf16 = 102.1}, true, "").bfloat16);
}

TEST(NumberFormat, WithoutBothRatesTheFlagsDecideAndTheReasonIsTold) {
  for (const Rates& rates : {Rates{}, Rates{.fp32 = 100}, Rates{.bf16 = 100},
                             Rates{.fp32 = 1, .bf16 = std::numeric_limits<double>::infinity()}}) {
    EXPECT_TRUE(ChooseNumberFormat(rates, true, "no memory").bfloat16);
    const NumberFormat format = ChooseNumberFormat(rates, false, "no memory");
    EXPECT_FALSE(format.bfloat16);
    EXPECT_EQ(format.why, "not measured (no memory): the processor has no bf16 products");
  }
}

TEST(Probe, IsASliceOfALargeModelAndTheWholeOfASmallOne) {
  const Probe probe = ProbeOf(Gpt2Step(), Work::kTraining);
  EXPECT_EQ(probe.model.layers, 1);
  EXPECT_EQ(probe.model.vocab_size, 50304 / 12);
  EXPECT_EQ(probe.model.hidden_size, 768);
  EXPECT_LE(probe.tokens(), 512);
  EXPECT_GE(probe.tokens(), 128);

  StepShape small;
  small.model = TinyLlama();
  small.rows = 2;
  small.length = 16;
  const Probe whole = ProbeOf(small, Work::kTraining);
  EXPECT_EQ(whole.model.layers, small.model.layers);
  EXPECT_EQ(whole.model.parameter_count(), small.model.parameter_count());
  EXPECT_EQ(whole.tokens(), 32);
}

TEST(Probe, OfAModelOfBillionsIsNarrowerNotLonger) {
  StepShape huge = Gpt2Step();
  huge.model.hidden_size = 8192;
  huge.model.mlp_width = 4 * 8192;
  huge.model.heads = huge.model.kv_heads = 128;
  const Probe probe = ProbeOf(huge, Work::kTraining);
  EXPECT_LE(probe.model.parameter_count(), 24 << 20);
  EXPECT_EQ(probe.model.heads * 64, probe.model.hidden_size);
  EXPECT_OK(ValidateModelConfig(probe.model));
}

TEST(Probe, OfDecodingHasMoreWeightsThanCachesHold) {
  const Probe probe = ProbeOf(Gpt2Step(), Work::kDecoding);
  EXPECT_GT(4 * probe.model.parameter_count(), 64 << 20);
  EXPECT_EQ(probe.tokens(), 4) << "one of each row";
}

TEST(Probe, TravelsAsJsonForEveryFamily) {
  for (const std::string family :
       {"llama", "gpt2", "qwen3", "gemma2", "gemma3_text", "bert", "roberta", "distilbert"}) {
    StepShape step;
    step.model = TinyOf(family);
    step.rows = 3;
    step.length = 24;
    step.recompute = Recompute::kBlock;
    const Probe probe = ProbeOf(step, Work::kTraining);
    const auto json = ProbeToJson(probe);
    const auto read = ProbeFromJson(nlohmann::json::parse(json.dump()));
    ASSERT_OK(read.status()) << family;
    // A pad id that is not named is the class's own; no row here is padded.
    auto again = ProbeToJson(*read), sent = json;
    again["model"].erase("pad_token_id");
    sent["model"].erase("pad_token_id");
    EXPECT_EQ(again, sent) << family;
  }
}

TEST(Probe, ABadOneNamesItsField) {
  const nlohmann::json good = ProbeToJson(ProbeOf(Gpt2Step(), Work::kReading));
  for (const auto& [key, bad] : std::map<std::string, nlohmann::json>{{"work", "dreaming"},
                                                                      {"rows", 0},
                                                                      {"length", "long"},
                                                                      {"threads", -1},
                                                                      {"learning", 2},
                                                                      {"muon", 1},
                                                                      {"model", nullptr}}) {
    nlohmann::json json = good;
    json[key] = bad;
    EXPECT_THAT(ProbeFromJson(json), StatusIs(StatusCode::kInvalidArgument, HasSubstr(key)));
  }
}

TEST(Rates, OfTheWholeAreThoseOfTheSliceByOperations) {
  RankShape whole;
  whole.step = Gpt2Step();
  whole.ranks = 2;
  whole.rows_per_rank = 8;
  const Probe probe = ProbeOf(whole.step, Work::kTraining);
  const double slice = OperationsPerToken(probe.model, probe.length, 1, Recompute::kNone);
  const double all = OperationsPerToken(whole.step.model, 512, 1, Recompute::kNone);
  const double rate = TrainingRate(probe, {.pass = 0.5, .update = 0}, whole);
  EXPECT_NEAR(rate, 2 * static_cast<double>(probe.tokens()) / 0.5 * slice / all, 1e-6 * rate);
  // 8 rows of 512 tokens a rank, and one update of all parameters.
  const double updates = static_cast<double>(whole.step.model.parameter_count()) /
                         static_cast<double>(probe.model.parameter_count());
  const double with_update = TrainingRate(probe, {.pass = 0.5, .update = 0.1}, whole);
  EXPECT_NEAR(8192 / with_update, 8192 / rate + 0.1 * updates, 1e-6);
}

TEST(KeptPaces, AreFoundAgainByTheirKeyAndTheOldestGo) {
  const Probe probe = ProbeOf(Gpt2Step(), Work::kTraining);
  std::string kept;
  for (int i = 0; i < 70; ++i) {
    kept = AddPaces(kept, std::to_string(i), probe,
                    {.fp32 = {.pass = 1.0 + i}, .bf16 = {.pass = 2, .update = 3}});
  }
  ASSERT_OK_AND_ASSIGN(const Paces newest, LookUpPaces(kept, "69"));
  EXPECT_EQ(newest.fp32.pass, 70);
  EXPECT_EQ(newest.bf16.update, 3);
  EXPECT_OK(LookUpPaces(kept, "6").status());
  EXPECT_THAT(LookUpPaces(kept, "5"), StatusIs(StatusCode::kNotFound, testing::_));
  // Measured again: one entry, the new one.
  kept = AddPaces(kept, "69", probe, {.fp32 = {.pass = 4}, .bf16 = {.pass = 5}});
  EXPECT_EQ(LookUpPaces(kept, "69")->fp32.pass, 4);
  EXPECT_OK(LookUpPaces(kept, "6").status());
}

TEST(KeptPaces, DamagedTextIsNothingKeptAndBegunAnew) {
  const Probe probe = ProbeOf(Gpt2Step(), Work::kTraining);
  for (const std::string bad :
       {"", "{", "[]", "{\"version\": 9, \"paces\": []}", "{\"version\": 1, \"paces\": 3}"}) {
    EXPECT_FALSE(LookUpPaces(bad, "a").ok()) << bad;
    const std::string kept = AddPaces(bad, "a", probe, {.fp32 = {.pass = 1}, .bf16 = {.pass = 1}});
    EXPECT_OK(LookUpPaces(kept, "a").status()) << bad;
  }
  for (const std::string bad : {"-1", "null", "\"fast\"", "0"}) {
    const std::string kept =
        "{\"version\": 1, \"paces\": [{\"key\": \"a\", \"fp32\": {\"pass\": " + bad +
        ", \"update\": 0}, \"bf16\": {\"pass\": 1, \"update\": 0}}]}";
    EXPECT_FALSE(LookUpPaces(kept, "a").ok()) << bad;
  }
}

TEST(KeptPaces, AreOfOneProcessorEnvironmentAndProgram) {
  const std::string milan = "processor: 0\nmodel name\t: AMD EPYC\nflags\t\t: fpu avx2\n";
  const std::string rapids = "processor: 0\nmodel name\t: Xeon\nflags\t\t: fpu avx2 amx_bf16\n";
  const std::string host = HostOfPaces(milan, "/proc/self/exe");
  EXPECT_EQ(host, HostOfPaces(milan, "/proc/self/exe"));
  EXPECT_NE(host, HostOfPaces(rapids, "/proc/self/exe"));
  EXPECT_NE(host, HostOfPaces(milan, "/bin/sh"));
  for (const char* name : {"ONEDNN_MAX_CPU_ISA", "TRAINYARD_KERNELS"}) {
    ::setenv(name, "AVX2", /*overwrite=*/1);
    EXPECT_NE(host, HostOfPaces(milan, "/proc/self/exe")) << name;
    ::unsetenv(name);
  }
}

}  // namespace
}  // namespace trainyard::plan
