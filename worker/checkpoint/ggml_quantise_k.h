// Quantisers of the super-blocks of 256 values. The format leaves it to the writer how scales are
// found; here by least squares over some candidates, as ggml's reference does it
// (https://github.com/ggml-org/ggml, ggml-quants.c: quantize_row_q4_K_ref, quantize_row_q6_K_ref),
// which the Python package has no quantisers to compare with.
#pragma once

#include <cstdint>

namespace trainyard::worker {

// 256 finite values to one block of 144 or 210 bytes. False when a float16 would become infinite.
bool QuantiseQ4_K(const float* values, uint8_t* block);
bool QuantiseQ6_K(const float* values, uint8_t* block);

}  // namespace trainyard::worker
