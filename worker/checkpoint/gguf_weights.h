// The weights of a GGUF file under Hugging Face's names and in its layout: rows of llama's queries
// and keys put back, GPT-2's matrices transposed, the 1 taken off Gemma's norms.
#pragma once

#include <nlohmann/json.hpp>
#include <span>
#include <string>
#include <vector>

#include "common/status.h"
#include "worker/checkpoint/gguf.h"
#include "worker/checkpoint/gguf_names.h"
#include "worker/checkpoint/source_tensor.h"

namespace trainyard::worker {

class GgufWeights {
 public:
  // InvalidArgument for a tensor that the architecture does not have; Unimplemented for a model in
  // several files; else as ConfigFromGguf.
  static StatusOr<GgufWeights> Open(const std::filesystem::path& path);

  const GgufFile& file() const { return file_; }
  const nlohmann::ordered_json& config() const { return config_; }
  // On what the file says and nothing is made of.
  const std::vector<std::string>& notes() const { return notes_; }
  // In the order of their bytes.
  const std::vector<SourceTensor>& tensors() const { return tensors_; }
  // Dequantised, as gguf_names.h says changed.
  Status ReadFloats(size_t tensor, int64_t first, std::span<float> values) const;

 private:
  struct Place {
    size_t entry = 0;  // of file_.tensors()
    GgufReshape reshape = GgufReshape::kNone;
    int64_t heads = 1;  // of interleaved rows
  };
  explicit GgufWeights(GgufFile file) : file_(std::move(file)) {}
  Status Add(size_t entry, const GgufName& name);
  Status ReadRows(const Place& place, int64_t first, std::span<float> values) const;
  Status ReadTransposed(const GgufTensor& tensor, std::span<float> values) const;

  GgufFile file_;
  nlohmann::ordered_json config_;
  std::vector<std::string> notes_;
  std::vector<SourceTensor> tensors_;
  std::vector<Place> places_;  // of each tensor
};

}  // namespace trainyard::worker
