// Weights of any model into a GGUF file, tensor by tensor, under llama.cpp's names and in its
// layout: the other way round of gguf_weights.h.
#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include "common/status.h"
#include "worker/checkpoint/gguf_writer.h"
#include "worker/checkpoint/hashed_file.h"
#include "worker/checkpoint/model_source.h"

namespace trainyard::worker {

struct GgufExport {
  std::string architecture;        // general.architecture
  GgufWriter::Keys keys;           // all of them
  GgmlType type = GgmlType::kF16;  // of matrices whose rows are whole blocks of it; see below
  int64_t heads = 1;
  int64_t kv_heads = 1;
  std::vector<float> rope_factors;  // tensor "rope_freqs.weight"; empty: none
};

// Vectors, positions and token types stay F32; matrices whose rows are not whole blocks become F16;
// embeddings and head are Q8_0 where the others have less than 8 bits. Weights that the
// architecture has no place for (BERT's heads) are left out and named in `left_out`. As GgufWriter
// for errors.
StatusOr<FileDigest> WriteGguf(const ModelSource& source, const std::filesystem::path& path,
                               const GgufExport& options, const PieceWritten& piece_written,
                               std::vector<std::string>* left_out);

}  // namespace trainyard::worker
