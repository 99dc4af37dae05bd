// What the plan accepts under a limit trains under that limit, set for real; what it refuses by far
// does not. A program of its own: it limits itself.
#include <gmock/gmock.h>
#include <sys/resource.h>

#include <fstream>
#include <sstream>

#include "common/machine.h"
#include "common/plan/fit.h"
#include "tests/support/status_matchers.h"
#include "tests/worker/engine/plan_shapes.h"
#include "tests/worker/support/batches.h"
#include "worker/checkpoint/snapshot.h"
#include "worker/engine/engine.h"
#include "worker/engine/memory.h"
#include "worker/objective/cross_entropy.h"
#include "worker/ops/products.h"

namespace trainyard::worker {
namespace {

using plan::RankShape;

constexpr int64_t kLength = 256;
constexpr int64_t kMiB = int64_t{1} << 20;

ModelConfig Model() {
  ModelConfig config = Widened(TinyGpt2(), /*layers=*/6);
  config.hidden_size = 384;
  config.head_width = 64;
  config.mlp_width = 1536;
  return config;
}

RankShape Shape(Precision precision, int64_t rows) {
  return {.step = {.model = Model(),
                   .bfloat16 = precision == Precision::kBfloat16,
                   .rows = rows,
                   .length = kLength,
                   .threads = 2},
          .rows_per_rank = rows,
          .copies_checkpoints = true};
}

Status Train(Engine& engine, int64_t rows) {
  const Batch batch = FullRows(rows, kLength, engine.config().vocab_size);
  ASSIGN_OR_RETURN(const CrossEntropy objective, CrossEntropy::Over(batch.targets()));
  for (int step = 0; step < 2; ++step) {
    RETURN_IF_ERROR(engine.ForwardBackward(batch, objective).status());
    RETURN_IF_ERROR(engine.Update({.learning_rate = 1e-3}, nullptr).status());
  }
  return OkStatus();
}

// Bytes of private memory that this process may write: what RLIMIT_DATA bounds.
int64_t DataBytes() {
  std::ifstream file("/proc/self/status");
  std::ostringstream text;
  text << file.rdbuf();
  return MemInfoBytes(text.str(), "VmData");
}

// While it lives, the process may have so many bytes more than it has now.
class Limit {
 public:
  explicit Limit(int64_t more_bytes) {
    getrlimit(RLIMIT_DATA, &before_);
    const rlimit limit{.rlim_cur = static_cast<rlim_t>(DataBytes() + more_bytes),
                       .rlim_max = before_.rlim_max};
    set_ = setrlimit(RLIMIT_DATA, &limit) == 0;
  }
  ~Limit() { setrlimit(RLIMIT_DATA, &before_); }
  bool set() const { return set_; }

 private:
  rlimit before_{};
  bool set_ = false;
};

TEST(Plan, AcceptsTheLargestThatTrainsUnderALimit) {
  KeepFreedMemory();
  Snapshot copy;
  int64_t copied_bytes = 0;
  for (const Precision precision : {Precision::kFloat32, Precision::kBfloat16}) {
    if (precision == Precision::kBfloat16 && !HasBfloat16Products()) continue;
    SCOPED_TRACE(precision == Precision::kFloat32 ? "fp32" : "bf16");
    // Bisected between one row and more than could fit.
    const int64_t limit_bytes = 1000 * kMiB;
    int64_t accepted = 0, refused = 4096;
    while (refused - accepted > 1) {
      const int64_t rows = (accepted + refused) / 2;
      const bool fits = plan::FitInto(Shape(precision, rows), limit_bytes, false).fits;
      (fits ? accepted : refused) = rows;
    }
    ASSERT_GT(accepted, 4);
    EXPECT_THAT(plan::FitSentence(plan::FitInto(Shape(precision, refused), limit_bytes, false)),
                testing::HasSubstr("would fit: "));

    // The libraries' threads and code are there before the model, as they are in a trainer whose
    // limit is a whole machine's.
    {
      ASSERT_OK_AND_ASSIGN(const auto warm, Engine::Create(Widened(TinyGpt2(), 1),
                                                           {.precision = precision, .threads = 2}));
      ASSERT_OK(Train(*warm, 1));
    }
    // What the turn before left with the process counts as data already.
    const Limit limit(limit_bytes - ArenaHighBytes() - copied_bytes);
    ASSERT_TRUE(limit.set());
    ASSERT_OK_AND_ASSIGN(const std::unique_ptr<Engine> engine,
                         Engine::Create(Model(), {.precision = precision, .threads = 2}));
    ASSERT_OK(copy.Reserve(engine->Parameters().value()));
    copied_bytes = 12 * engine->config().parameter_count();
    EXPECT_OK(Train(*engine, accepted));
    // A quarter more is beyond the plan's allowances: the engine itself finds no memory, and says
    // so.
    const Status too_much = Train(*engine, accepted + accepted / 4);
    EXPECT_EQ(too_much.code(), absl::StatusCode::kResourceExhausted) << too_much;
    EXPECT_OK(Train(*engine, accepted)) << "what did not fit has left nothing behind";
  }
}

}  // namespace
}  // namespace trainyard::worker
