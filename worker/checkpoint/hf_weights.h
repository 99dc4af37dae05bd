// The weights of a Hugging Face folder under canonical names: buffers are dropped, old names
// renamed, and a copy of a tied tensor is compared with its original and dropped.
#pragma once

#include <filesystem>
#include <map>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "common/status.h"
#include "worker/checkpoint/safetensors.h"
#include "worker/checkpoint/source_tensor.h"

namespace trainyard::worker {

class HfWeights {
 public:
  // `ties`: whether the config ties the head to the embeddings. DataLoss and NotFound as
  // OpenShards; InvalidArgument for two tensors of one canonical name, a weight that is not F32,
  // F16 or BF16, a copy that differs from its original.
  static StatusOr<HfWeights> Open(const std::filesystem::path& folder, std::string_view model_type,
                                  bool ties);

  // In the order of their bytes, shard by shard.
  const std::vector<SourceTensor>& tensors() const { return tensors_; }
  // What was found beside what was asked for, as sentences.
  const std::vector<std::string>& notes() const { return notes_; }
  const std::filesystem::path& PathOf(size_t tensor) const;
  Status ReadFloats(size_t tensor, int64_t first, std::span<float> values) const;
  Status ReadBytes(size_t tensor, int64_t offset, std::span<std::byte> bytes) const;

 private:
  struct Place {
    size_t file = 0;
    size_t entry = 0;
  };
  const TensorEntry& EntryOf(const Place& place) const {
    return files_[place.file].tensors()[place.entry];
  }
  Status Add(const Place& place, std::string name, bool is_trained);
  Status CheckCopy(const Place& copy, size_t original) const;

  std::vector<SafetensorsFile> files_;
  std::vector<std::string> notes_;
  std::vector<SourceTensor> tensors_;
  std::vector<Place> places_;  // of each tensor
  std::map<std::string, size_t, std::less<>> index_;
};

}  // namespace trainyard::worker
