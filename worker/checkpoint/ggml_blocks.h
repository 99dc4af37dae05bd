// float32 to and from ggml's element types, to the bit as the Python package `gguf` does it
// (gguf-py/gguf/quants.py, the reference that transformers loads GGUF files with). Each block type
// stores float16 scales and small integers; integers of a block lie interleaved, low halves of the
// bytes first.
#pragma once

#include <cstddef>
#include <span>

#include "common/status.h"
#include "worker/checkpoint/ggml_types.h"

namespace trainyard::worker {

// `blocks` are whole blocks of `type`, `values` as many as they hold.
void DequantiseBlocks(GgmlType type, std::span<const std::byte> blocks, std::span<float> values);

// The other way; `values` are whole blocks. To the bit as the package for F32, F16, BF16, Q8_0,
// Q5_0 and Q4_0; Q4_K and Q6_K as ggml_quantise_k.h says; Unimplemented for the other types.
// InvalidArgument for a value that the type cannot hold: not finite, or so large that a float16
// would become infinite.
Status QuantiseBlocks(GgmlType type, std::span<const float> values, std::span<std::byte> blocks);

}  // namespace trainyard::worker
