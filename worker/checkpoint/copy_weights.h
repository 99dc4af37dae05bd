// Weights of any model into one safetensors file, piece by piece: memory stays at a few pieces.
#pragma once

#include <filesystem>
#include <optional>

#include "common/status.h"
#include "worker/checkpoint/hashed_file.h"
#include "worker/checkpoint/model_source.h"

namespace trainyard::worker {

struct CopiedWeights {
  FileDigest digest;
  TensorType type = TensorType::kF32;  // holds every tensor's values: config.json's dtype
  int64_t parameters = 0;
};

// Every tensor in its own type where that is F32, F16 or BF16, quantised ones in F32; or all in
// `type`. Wider types come first, so that every tensor lies aligned. DataLoss for values that are
// not finite, InvalidArgument for one that F16 cannot hold.
StatusOr<CopiedWeights> CopyWeights(const ModelSource& source, const std::filesystem::path& path,
                                    std::optional<TensorType> type,
                                    const PieceWritten& piece_written);

// "float32", "float16" or "bfloat16", as config.json has it.
std::string DtypeOf(TensorType type);

}  // namespace trainyard::worker
