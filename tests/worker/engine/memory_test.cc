#include "worker/engine/memory.h"

#include <gtest/gtest.h>
#include <sys/resource.h>

#include "tests/support/status_matchers.h"
#include "tests/worker/support/batches.h"
#include "worker/engine/engine.h"
#include "worker/objective/cross_entropy.h"

namespace trainyard::worker {
namespace {

int64_t MinorFaults() {
  rusage usage{};
  getrusage(RUSAGE_SELF, &usage);
  return usage.ru_minflt;
}

TEST(Memory, ASteadyStepTakesUnderAHundredMinorPageFaults) {
  KeepFreedMemory();
  ModelConfig config = TinyLlama();
  config.vocab_size = 2000;
  config.hidden_size = 256;
  config.head_width = 64;
  config.mlp_width = 704;
  config.max_positions = 512;
  for (const Precision precision : {Precision::kFloat32, Precision::kBfloat16}) {
    ASSERT_OK_AND_ASSIGN(const std::unique_ptr<Engine> engine,
                         Engine::Create(config, {.precision = precision, .threads = 2}));
    const Batch batch = Pack({NoiseItem(512, 2000, 1), NoiseItem(512, 2000, 2)});
    ASSERT_OK_AND_ASSIGN(const CrossEntropy objective, CrossEntropy::Over(batch.targets()));
    int64_t faults = 0;
    for (int step = 0; step < 10; ++step) {
      const int64_t before = MinorFaults();
      ASSERT_OK(engine->ForwardBackward(batch, objective));
      ASSERT_OK(engine->Update({.learning_rate = 1e-3}, nullptr));
      faults = MinorFaults() - before;
    }
    EXPECT_LT(faults, 100);
  }
}

}  // namespace
}  // namespace trainyard::worker
