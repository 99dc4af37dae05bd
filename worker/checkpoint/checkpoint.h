// A complete state of a job at a step, as a Hugging Face folder plus our state files:
//   model.safetensors  config.json  generation_config.json  tokenizer.json  tokenizer_config.json
//   README.md  trainyard/{optimizer-<engine>.safetensors, state.json, manifest.json}
// The optimiser's file holds "moment1.<tensor>", "moment2.<tensor>" and, when the weights are bf16,
// "master.<tensor>". The manifest (common/checkpoint_manifest.h) is written last.
#pragma once

#include <cstdint>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <span>
#include <string>
#include <vector>

#include "common/checkpoint_manifest.h"
#include "common/ids.h"
#include "common/status.h"
#include "worker/checkpoint/hashed_file.h"
#include "worker/checkpoint/model_folder.h"
#include "worker/checkpoint/parameter_view.h"

namespace trainyard::worker {

enum class WeightFormat { kFloat32, kBfloat16 };

// state.json: all that a resumed attempt needs besides tensors.
struct TrainingState {
  std::string job;
  AttemptNumber attempt = 0;  // the one that wrote it
  int64_t step = 0;           // steps done
  int64_t update_count = 0;   // optimiser updates done
  nlohmann::json loader;      // the loader's position, in the loader's own form
  nlohmann::json schedule;    // the schedules' position, likewise
  std::string data_sha256;    // of the prepared data, the tokenizer and the resolved spec: a resume
  std::string tokenizer_sha256;  // under others is the caller's to refuse
  std::string spec_sha256;
};

struct CheckpointContents {
  TrainingState state;
  std::string engine = "policy";
  std::vector<ParameterView> parameters;  // only read
  WeightFormat weight_format = WeightFormat::kFloat32;
  nlohmann::ordered_json model_config;  // config.json
  TokenizerContents tokenizer;
  bool masked = false;           // predicts masked tokens: has no generation_config.json
  std::string data_description;  // for the model card
};

struct WrittenCheckpoint {
  std::string manifest_digest;  // what the coordinator records
  int64_t total_bytes = 0;
};

// Writes and syncs the folder, which must not exist (AlreadyExists). After any error it is gone
// again; a full disk is ResourceExhausted. Called by rank 0 alone; several ranks write shards
// later.
StatusOr<WrittenCheckpoint> WriteCheckpoint(const std::filesystem::path& folder,
                                            const CheckpointContents& contents,
                                            const PieceWritten& piece_written = {});

// Verifies every byte, then fills masters and moments by name. DataLoss for damage;
// InvalidArgument naming the tensor that is missing, extra or of another shape. The parameters hold
// nothing useful after an error.
StatusOr<TrainingState> ReadCheckpoint(const std::filesystem::path& folder,
                                       std::string_view manifest_digest, std::string_view engine,
                                       std::span<const ParameterView> parameters,
                                       const ReadProgress& progress = {});

// Fills masters alone from any model that ModelSource opens, with the same naming of tensors that
// do not fit. Tensors of heads that our models do not have are passed over. Needs no manifest.
Status ReadWeights(const std::filesystem::path& model, std::span<const ParameterView> parameters,
                   int threads = 1, const ReadProgress& progress = {});

}  // namespace trainyard::worker
