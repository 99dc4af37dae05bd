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
  std::string architecture = {};   // general.architecture
  GgufWriter::Keys keys = {};      // all of them
  GgmlType type = GgmlType::kF16;  // of most matrices; see below
  int64_t blocks = 0;
  int64_t heads = 1;
  int64_t kv_heads = 1;
  bool embedding_is_head = true;         // there is no "output.weight"
  std::vector<float> rope_factors = {};  // tensor "rope_freqs.weight"; empty: none
};

// Vectors, positions and token types stay F32. Where the other matrices have less than 8 bits a
// value, the head, or the embedding that stands for it, is Q6_K. Q4_K means llama.cpp's mixture
// Q4_K_M: half of the value projections and down projections are Q6_K. Rows that are not whole
// blocks take Q5_0 for Q4_K, Q8_0 for Q6_K, F16 for others. Weights that the architecture has no
// place for (BERT's heads) are left out and named in `left_out`. Errors as GgufWriter's.
StatusOr<FileDigest> WriteGguf(const ModelSource& source, const std::filesystem::path& path,
                               const GgufExport& options, const PieceWritten& piece_written,
                               std::vector<std::string>* left_out);

}  // namespace trainyard::worker
