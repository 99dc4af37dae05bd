// Any model that we can read, seen as a Hugging Face folder: a folder with one safetensors file or
// with shards and an index, or a .gguf file. What the file calls a tensor, how it is stored and
// laid out, stays in here; its tokenizer is read beside it (worker/model_text/model_text.h).
#pragma once

#include <filesystem>
#include <functional>
#include <map>
#include <nlohmann/json.hpp>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "common/status.h"
#include "worker/checkpoint/gguf_weights.h"
#include "worker/checkpoint/hf_weights.h"
#include "worker/checkpoint/source_tensor.h"

namespace trainyard::worker {

struct NamedShape {
  std::string name;
  std::vector<int64_t> shape;
};

class ModelSource {
 public:
  // Checks the whole head of every file and its index, no values. NotFound, DataLoss or
  // InvalidArgument naming file, tensor and rule.
  static StatusOr<ModelSource> Open(const std::filesystem::path& ref);

  const std::filesystem::path& path() const { return path_; }
  // config.json; of a GGUF file what it would be.
  const nlohmann::ordered_json& config() const { return config_; }
  std::string model_type() const;
  // What a user should be told of the model's files, as sentences that name the file: what is there
  // and not read, which of two keys counts. `trains`: of a job that trains it.
  std::vector<std::string> Notes(bool trains = false) const;
  // In the order of their bytes.
  const std::vector<SourceTensor>& tensors() const;
  // Null when the model has no such tensor.
  const SourceTensor* Find(std::string_view name) const;

  // OK when the model has exactly the tensors of `wanted`, and perhaps those of heads that our
  // models do not have. InvalidArgument naming the tensor that is missing, extra or of another
  // shape.
  Status MatchTensors(std::span<const NamedShape> wanted) const;

  // Null for a folder.
  const GgufFile* gguf() const;

  // Values first .. first + values.size(), both multiples of tensor.unit. DataLoss naming the
  // tensor and the place of a value that is not finite.
  Status ReadFloats(const SourceTensor& tensor, int64_t first, std::span<float> values) const;
  // All values in order, piece by piece: of a million at most, unless one unit is more.
  Status VisitFloats(const SourceTensor& tensor,
                     const std::function<Status(std::span<const float>)>& visit) const;
  // The bytes of a tensor of tensor.type, checked likewise. Copies of the file's where it can be.
  Status VisitBytes(const SourceTensor& tensor,
                    const std::function<Status(std::string_view)>& visit) const;

 private:
  ModelSource(std::filesystem::path path, nlohmann::ordered_json config,
              std::variant<HfWeights, GgufWeights> weights);
  size_t PlaceOf(const SourceTensor& tensor) const;
  const std::filesystem::path& FileOf(const SourceTensor& tensor) const;

  std::filesystem::path path_;
  nlohmann::ordered_json config_;
  std::variant<HfWeights, GgufWeights> weights_;
  std::map<std::string, size_t, std::less<>> index_;
};

}  // namespace trainyard::worker
