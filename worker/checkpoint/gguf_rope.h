// Llama 3.1's stretched rotary embedding, which GGUF stores not as four numbers but as one factor
// for each frequency (tensor "rope_freqs.weight").
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "common/status.h"

namespace trainyard::worker {

// The fields of a Hugging Face config's rope_scaling of rope_type "llama3".
struct Llama3Rope {
  double factor = 8;
  double low_freq_factor = 1;
  double high_freq_factor = 4;
  int64_t original_max_positions = 8192;
};

// What each of the width / 2 frequencies theta^(-2i / width) is divided by.
std::vector<double> Llama3RopeFactors(const Llama3Rope& rope, double theta, int64_t width);

// Fields that give these factors, to a hundred thousandth. Only the ratios of the lengths are in
// the factors: low_freq_factor is taken to be 1 where a whole original_max_positions allows it, and
// high_freq_factor 4 where the factors leave it open; a factor that no frequency has in full is
// taken for the greatest. Unimplemented when no llama3 scaling gives them.
StatusOr<Llama3Rope> FitLlama3Rope(std::span<const float> factors, double theta);

}  // namespace trainyard::worker
