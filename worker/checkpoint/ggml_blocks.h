// float32 to and from ggml's element types, to the bit as the Python package `gguf` does it
// (gguf-py/gguf/quants.py, the reference that transformers loads GGUF files with). Each block type
// stores float16 scales and small integers; integers of a block lie interleaved, low halves of the
// bytes first.
#pragma once

#include <cstddef>
#include <span>

#include "worker/checkpoint/ggml_types.h"

namespace trainyard::worker {

// `blocks` are whole blocks of `type`, `values` as many as they hold.
void DequantiseBlocks(GgmlType type, std::span<const std::byte> blocks, std::span<float> values);

}  // namespace trainyard::worker
