// A model's shape as the metadata of a GGUF file that llama.cpp reads.
#pragma once

#include <string>
#include <vector>

#include "common/model/config.h"
#include "common/status.h"
#include "worker/checkpoint/gguf_writer.h"

namespace trainyard::worker {

// The one key of the model's that stands among the tokenizer's.
constexpr char kGgufTokenTypeCount[] = "tokenizer.ggml.token_type_count";

// general.architecture and the keys under its name. Unimplemented for a family that llama.cpp has
// under no architecture that we write, and, naming the field of config.json, for a model that it
// would compute otherwise or not load.
StatusOr<GgufWriter::Keys> GgufModelKeys(const ModelConfig& config);

// What each frequency of the rotary embedding is divided by, for tensor "rope_freqs.weight"; empty
// where the model is not stretched as Llama 3.1's.
std::vector<float> GgufRopeFactors(const ModelConfig& config);

}  // namespace trainyard::worker
