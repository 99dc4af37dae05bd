// Writes safetensors files that transformers and every other reader of the format accept.
#pragma once

#include <filesystem>
#include <span>
#include <string>
#include <vector>

#include "common/status.h"
#include "worker/checkpoint/hashed_file.h"
#include "worker/checkpoint/safetensors.h"

namespace trainyard::worker {

struct TensorToWrite {
  std::string name;
  TensorType type = TensorType::kF32;  // F32, or BF16: rounded to nearest even on the way
  std::vector<int64_t> shape;
  const float* values = nullptr;
  int64_t count = 0;  // elements
};

// Creates `path`, synced. __metadata__ is {"format": "pt"}; tensors lie in the order given.
// InvalidArgument for a repeated or reserved name, a shape that does not have `count` elements, or
// another dtype; ResourceExhausted when the disk is full (what was written stays for the caller to
// remove).
StatusOr<FileDigest> WriteSafetensors(const std::filesystem::path& path,
                                      std::span<const TensorToWrite> tensors,
                                      const PieceWritten& piece_written = {});

}  // namespace trainyard::worker
