#include "coordinator/fits.h"

#include <gmock/gmock.h>

#include "common/job_spec/resolve.h"
#include "common/plan/memory.h"
#include "tests/support/status_matchers.h"

namespace trainyard::coordinator {
namespace {

using testing::HasSubstr;

JobSpec Job(int64_t ranks) {
  JobSpec spec;
  spec.name = "big";
  spec.kind = "pretrain";
  spec.model.preset = "gpt2";
  spec.tokenizer.train = TokenizerTraining{.vocab_size = 50304};
  spec.data.train.emplace_back().path = "a.txt";
  spec.train.max_steps = 100;
  spec.train.max_length = 512;
  spec.train.global_batch_size = 8 * ranks;
  spec.train.micro_batch_size = 8;
  spec.train.precision = "fp32";
  spec.resources.ranks = ranks;
  spec.checkpoint.save_steps = 50;
  return Resolve(spec)->spec;
}

int64_t Needed(const JobSpec& spec, int on_host) {
  auto shape = plan::RankShapeOf(spec, 50304, false);
  shape->ranks_on_host = on_host;
  return plan::HostBytes(*shape);
}

Worker Here(const std::string& host, int slots, int64_t memory_bytes) {
  Worker worker;
  worker.id = {host};
  worker.host_id = host;
  worker.memory_bytes = memory_bytes;
  worker.reachable = true;
  for (int i = 0; i < slots; ++i) worker.slots.push_back({i, "cpu", ""});
  return worker;
}

TEST(CheckFits, RefusesWhatNoHostHoldsAndSaysWhatWouldFit) {
  const JobSpec spec = Job(1);
  const int64_t needed = Needed(spec, 1);
  EXPECT_OK(CheckFits(spec, {Here("a", 1, needed)}));
  const Status refused = CheckFits(spec, {Here("a", 1, needed - 1), Here("b", 4, needed / 2)});
  EXPECT_EQ(refused.code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_EQ(ReasonOf(refused), "JOB_DOES_NOT_FIT");
  EXPECT_THAT(MessageOf(refused), HasSubstr("train.micro_batch_size=4"));
}

TEST(CheckFits, RanksOfAHostShareItsMemory) {
  const JobSpec spec = Job(2);
  const int64_t one = Needed(spec, 1), two = Needed(spec, 2);
  EXPECT_OK(CheckFits(spec, {Here("a", 2, two)}));
  EXPECT_FALSE(CheckFits(spec, {Here("a", 2, two - 1)}).ok());
  EXPECT_OK(CheckFits(spec, {Here("a", 2, two - 1), Here("b", 1, one)}));
  // Two workers of one host have its memory once.
  Worker second = Here("a", 1, one);
  EXPECT_FALSE(CheckFits(spec, {Here("a", 1, one), second}).ok());
}

TEST(CheckFits, OnlyTheFirstRankNeedsTheCopyOfCheckpoints) {
  const JobSpec spec = Job(2);
  const int64_t first = Needed(spec, 1), other = Needed(spec, 2) - first;
  EXPECT_LT(other, first);
  EXPECT_OK(CheckFits(spec, {Here("a", 1, other), Here("b", 1, first)}));
  EXPECT_FALSE(CheckFits(spec, {Here("a", 1, other), Here("b", 1, first - 1)}).ok());
}

TEST(CheckFits, AcceptsWhatIsNotCertain) {
  const JobSpec spec = Job(2);
  EXPECT_OK(CheckFits(spec, {}));
  EXPECT_OK(CheckFits(spec, {Here("a", 1, 1)}));                   // a slot is missing
  EXPECT_OK(CheckFits(spec, {Here("a", 2, 0)}));                   // its memory is not known
  EXPECT_OK(CheckFits(spec, {Here("a", 2, 1), Here("b", 2, 0)}));  // nor this one's
  Worker gone = Here("a", 2, 1);
  gone.reachable = false;
  EXPECT_OK(CheckFits(spec, {gone}));
  JobSpec unknown = spec;
  unknown.tokenizer = {.train = std::nullopt, .from = "somewhere"};
  EXPECT_OK(CheckFits(unknown, {Here("a", 2, 1)}));
}

TEST(CheckFits, TakesTheSmallerPrecisionForAuto) {
  JobSpec spec = Job(1);
  spec.train.precision = "auto";
  auto narrow = plan::RankShapeOf(spec, 50304, true);
  EXPECT_OK(CheckFits(spec, {Here("a", 1, plan::HostBytes(*narrow))}));
  spec.train.precision = "fp32";
  EXPECT_FALSE(CheckFits(spec, {Here("a", 1, plan::HostBytes(*narrow))}).ok());
}

}  // namespace
}  // namespace trainyard::coordinator
