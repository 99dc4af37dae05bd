// The model a job's spec describes, and the engine that holds it.
#pragma once

#include <memory>

#include "common/status.h"
#include "worker/checkpoint/model_folder.h"
#include "worker/engine/engine.h"
#include "worker/loop/rank_context.h"
#include "worker/loop/starting_model.h"
#include "worker/text/tokenizer.h"

namespace trainyard::worker {

// Keys files and random streams of the model that is trained.
inline constexpr char kPolicy[] = "policy";

// The config of the model that the job goes on from; without one model.config with what the
// tokenizer decides: the vocabulary's size and the special tokens that the checkpoint will name.
// `vocab_size`: rows of the embedding that the tokenizer needs. InvalidArgument names the field
// that does not fit.
StatusOr<ModelConfig> ModelOfJob(const JobSpec& spec, const StartingModel& model,
                                 int64_t vocab_size, const TokenizerContents& special);

// Rows of the embedding that text needs: of fresh weights the tokenizer's vocabulary, of given ones
// one past the greatest id that stands for text.
StatusOr<int64_t> VocabularyOfJob(const StartingModel& model, const Tokenizer& tokenizer);

struct JobEngine {
  std::unique_ptr<Engine> engine;
  Precision precision = Precision::kFloat32;  // what "auto" came to
};

// With the model's weights or fresh ones. Says in the log what was chosen. `learns` as in
// EngineOptions.
StatusOr<JobEngine> CreateJobEngine(const RankContext& context, const StartingModel& model,
                                    const Tokenizer& tokenizer, const TokenizerContents& special,
                                    bool learns = true);

}  // namespace trainyard::worker
