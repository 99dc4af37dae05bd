#include "common/plan/fit.h"

#include <gmock/gmock.h>

#include <cmath>

#include "common/job_spec/resolve.h"
#include "common/plan/arithmetic.h"
#include "tests/common/model/tiny_models.h"
#include "tests/support/status_matchers.h"

namespace trainyard::plan {
namespace {

using testing::HasSubstr;
using testing::IsEmpty;

JobSpec Gpt2Job() {
  JobSpec spec;
  spec.name = "plan";
  spec.kind = "pretrain";
  spec.model.preset = "gpt2";
  spec.tokenizer.train = TokenizerTraining{.vocab_size = 50304};
  spec.data.train.emplace_back().path = "a.txt";
  spec.train.max_steps = 100;
  spec.train.max_length = 512;
  spec.train.global_batch_size = 16;
  spec.train.micro_batch_size = 8;
  spec.train.precision = "fp32";
  spec.checkpoint.save_steps = 50;
  spec.resources.threads_per_rank = 2;
  return spec;
}

RankShape Shape(const JobSpec& spec, bool bfloat16 = false) {
  const auto resolved = Resolve(spec);
  EXPECT_OK(resolved.status());
  const auto shape = RankShapeOf(resolved->spec, VocabularyOf(spec), bfloat16);
  EXPECT_OK(shape.status());
  return *shape;
}

TEST(PlanMemory, HoldsSixteenBytesAParameterAndTwelveForTheCopyOfACheckpoint) {
  const RankShape shape = Shape(Gpt2Job());
  EXPECT_EQ(shape.step.model.parameter_count(), 124'475'904);
  const MemoryPlan plan = PlanMemory(shape);
  EXPECT_EQ(plan.BytesOf(Part::kMasters), 4 * 124'475'904);
  EXPECT_EQ(plan.BytesOf(Part::kGradients), 4 * 124'475'904);
  EXPECT_EQ(plan.BytesOf(Part::kMoments), 8 * 124'475'904);
  EXPECT_EQ(plan.BytesOf(Part::kWeights), 0);
  EXPECT_NEAR(double(plan.BytesOf(Part::kSnapshot)), 12.0 * 124'475'904, 2 << 20);
  EXPECT_EQ(PlanMemory(Shape(Gpt2Job(), true)).BytesOf(Part::kWeights), 2 * 124'475'904);
}

TEST(PlanMemory, ItsLinesAddUp) {
  const MemoryPlan plan = PlanMemory(Shape(Gpt2Job()));
  int64_t sum = 0;
  for (const MemoryLine& line : plan.lines) sum += line.bytes;
  EXPECT_EQ(sum, plan.total_bytes);
}

TEST(PlanMemory, RecomputeKeepsLess) {
  JobSpec spec = Gpt2Job();
  std::vector<int64_t> kept;
  for (const char* recompute : {"none", "activations", "block"}) {
    spec.train.recompute = recompute;
    kept.push_back(PlanMemory(Shape(spec)).total_bytes);
  }
  EXPECT_GT(kept[0], kept[1]);
  EXPECT_GT(kept[1], kept[2]);
}

TEST(Arithmetic, OfABatch) {
  JobSpec spec = Gpt2Job();
  spec.resources.ranks = 2;
  spec.train.micro_batch_size = 4;
  const Arithmetic a = ArithmeticOf(Shape(spec));
  EXPECT_EQ(a.tokens_per_micro_batch, 2048);
  EXPECT_EQ(a.micro_batches, 2);
  EXPECT_EQ(a.tokens_per_step, 8192);
  EXPECT_EQ(a.tokens, 819'200);
  // 6 x (parameters without the 1,024 positions) + 6 layers x width x tokens
  EXPECT_DOUBLE_EQ(a.operations_per_token, 6.0 * (124'475'904 - 1024 * 768) + 6.0 * 12 * 768 * 512);
}

TEST(Arithmetic, CountsWhatMultipliesATokenAndNotWhatIsLookedUp) {
  RankShape shape = Shape(Gpt2Job());
  const auto multiplying = [&](ModelConfig config) {
    shape.step.model = *WithFamily(std::move(config));
    const double attention = (shape.step.model.family().causal ? 6.0 : 12.0) * 2 * 24 * 512;
    return std::lround((ArithmeticOf(shape).operations_per_token - attention) / 6);
  };
  ModelConfig llama = TinyLlama();
  EXPECT_EQ(multiplying(llama), llama.parameter_count() - 37 * 24);  // the head multiplies
  llama.tie_embeddings = true;
  EXPECT_EQ(multiplying(llama), llama.parameter_count());
  const ModelConfig bert = TinyOf("bert");
  EXPECT_EQ(multiplying(bert), bert.parameter_count() - (64 + 2) * 24);
}

JobSpec MaskedJob() {
  JobSpec spec = Gpt2Job();
  spec.objective = "masked";
  spec.model.preset = "bert-nano";
  spec.train.max_length = 256;
  return spec;
}

TEST(PlanMemory, OfAMaskedJobCountsInTheHeadThePlacesThatLearn) {
  const RankShape masked = Shape(MaskedJob());
  RankShape every = masked;
  every.step.masking = std::nullopt;
  // 2,048 places: 307.2 are masked on average, with a standard deviation of 16.2.
  EXPECT_EQ(masked.step.learning(), 405);
  EXPECT_EQ(every.step.learning(), 2048);
  EXPECT_LT(PlanMemory(masked).BytesOf(Part::kHead), PlanMemory(every).BytesOf(Part::kHead));
  EXPECT_EQ(LearningPlacesMax(2048, MaskingSpec{.probability = 1}), 2048);
  EXPECT_GT(LearningPlacesMax(2048, MaskingSpec{.whole_word = true}), 405);
}

TEST(Arithmetic, OfAMaskedJobMultipliesTheHeadWithThePlacesThatLearn) {
  RankShape shape = Shape(MaskedJob());
  const double masked = ArithmeticOf(shape).operations_per_token;
  shape.step.masking = std::nullopt;
  const double head = 50304.0 * 128 + 128.0 * 128;
  EXPECT_DOUBLE_EQ(ArithmeticOf(shape).operations_per_token - masked, 6 * (1 - 0.15) * head);
}

TEST(PlanMemory, OfCappedLogitsHoldsThemTwice) {
  RankShape shape = Shape(Gpt2Job());
  shape.step.model = *WithFamily(TinyOf("gemma2"));
  shape.step.model.vocab_size = 8192;
  const int64_t capped = PlanMemory(shape).BytesOf(Part::kHead);
  shape.step.model.logit_softcap = 0;
  EXPECT_GE(capped - PlanMemory(shape).BytesOf(Part::kHead), 512 * 8192 * 4);
}

TEST(Fit, SaysWhatWouldFitAndThatDoes) {
  const RankShape shape = Shape(Gpt2Job());
  const int64_t needed = PlanMemory(shape).total_bytes;
  EXPECT_TRUE(FitInto(shape, needed, true).fits);
  const Fit fit = FitInto(shape, needed - 1, true);
  EXPECT_FALSE(fit.fits);
  ASSERT_FALSE(fit.remedies.empty());
  EXPECT_EQ(fit.remedies[0].set, "train.micro_batch_size=4");
  for (const Remedy& remedy : fit.remedies) EXPECT_LT(remedy.total_bytes, needed);
  EXPECT_THAT(FitSentence(fit), HasSubstr("train.recompute=activations"));
  EXPECT_THAT(FitSentence(fit), HasSubstr("train.precision=bf16"));
  EXPECT_THAT(FitSentence(fit), HasSubstr("train.max_length=448"));
}

TEST(Fit, PutsChangesTogetherWhenNoneIsEnough) {
  JobSpec spec = Gpt2Job();
  spec.train.micro_batch_size = 8;
  spec.train.global_batch_size = 8;
  const RankShape shape = Shape(spec);
  RankShape smallest = shape;
  smallest.step.rows = 1;
  smallest.step.recompute = Recompute::kBlock;
  smallest.copies_checkpoints = false;
  const int64_t least = PlanMemory(smallest).total_bytes;
  const Fit fit = FitInto(shape, least, true);
  ASSERT_EQ(fit.remedies.size(), 1U);
  EXPECT_EQ(fit.remedies[0].set,
            "train.recompute=block train.micro_batch_size=1 checkpoint.save_steps=0");
}

TEST(Fit, KnowsWhenOnlyASmallerModelWouldDo) {
  const Fit fit = FitInto(Shape(Gpt2Job()), int64_t{1} << 30, true);
  EXPECT_THAT(fit.remedies, IsEmpty());
  EXPECT_THAT(FitSentence(fit), HasSubstr("only a smaller model"));
}

TEST(Fit, CountsAllRanksOfAHostAndOneCopyOfACheckpoint) {
  JobSpec spec = Gpt2Job();
  spec.resources.ranks = 2;
  RankShape shape = Shape(spec);
  const int64_t first = HostBytes(shape);
  shape.ranks_on_host = 2;
  RankShape second = shape;
  second.copies_checkpoints = false;
  EXPECT_EQ(HostBytes(shape), first + PlanMemory(second).total_bytes);
  EXPECT_THAT(FitSentence(FitInto(shape, first, true)), HasSubstr("2 ranks of a host need"));
}

TEST(Fit, ReadsSizesOfMemory) {
  EXPECT_EQ(*ParseMemory("8GiB"), int64_t{8} << 30);
  EXPECT_EQ(*ParseMemory("1.5 GiB"), int64_t{3} << 29);
  EXPECT_EQ(*ParseMemory("512M"), int64_t{512} << 20);
  EXPECT_EQ(*ParseMemory("8GB"), 8'000'000'000);
  for (const char* wrong : {"", "GiB", "-1GiB", "8 apples", "0", "1e30GiB"}) {
    EXPECT_FALSE(ParseMemory(wrong).ok()) << wrong;
  }
}

TEST(Fit, TheLargestMicroBatchIsADivisorThatFits) {
  RankShape shape = Shape(Gpt2Job());
  shape.rows_per_rank = 12;
  shape.step.rows = 6;
  const int64_t six = PlanMemory(shape).total_bytes;
  EXPECT_EQ(LargestMicroBatch(shape, six, 12), 6);
  EXPECT_EQ(LargestMicroBatch(shape, six - 1, 12), 4);
  EXPECT_EQ(LargestMicroBatch(shape, 1 << 20, 12), 0);
}

}  // namespace
}  // namespace trainyard::plan
