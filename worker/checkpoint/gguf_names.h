// GGUF's names of tensors beside Hugging Face's, architecture by architecture, and how the values
// differ. Facts: llama.cpp's convert_hf_to_gguf.py and gguf-py/gguf/tensor_mapping.py,
// transformers' modeling_gguf_pytorch_utils.py.
#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "common/status.h"

namespace trainyard::worker {

enum class GgufReshape {
  kNone,
  // llama's rotary embedding turns neighbours (2j, 2j + 1) where Hugging Face turns (j, j + d/2):
  // the rows of each head lie interleaved.
  kInterleavedQueries,
  kInterleavedKeys,
  kTransposed,  // GPT-2's Conv1D holds [in, out], GGUF [out, in]
  kPlusOne,     // gemma's norms multiply by 1 + w; GGUF holds 1 + w
};

struct GgufName {
  std::string name;
  GgufReshape reshape = GgufReshape::kNone;
};

// model_type of a Hugging Face config for general.architecture, or nothing where we read no such
// files; and back ("gemma3_text" is "gemma3", "mistral" is "llama").
std::optional<std::string> ModelTypeOfGguf(std::string_view architecture);
std::optional<std::string> GgufArchitectureOf(std::string_view model_type);
std::string NamesOfGgufArchitectures();

// Nothing when the architecture has no such tensor.
std::optional<GgufName> HfNameOfGguf(std::string_view architecture, std::string_view gguf_name);
std::optional<GgufName> GgufNameOfHf(std::string_view architecture, std::string_view hf_name);

}  // namespace trainyard::worker
