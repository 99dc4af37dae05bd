// Reads GGUF files, the format of llama.cpp: one file with weights, often quantised, the model's
// shape, its tokenizer and chat template. The rules that a file must keep are in gguf_header.h.
#pragma once

#include <filesystem>
#include <map>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "common/status.h"
#include "worker/checkpoint/gguf_header.h"
#include "worker/checkpoint/random_file.h"

namespace trainyard::worker {

class GgufFile {
 public:
  static StatusOr<GgufFile> Open(const std::filesystem::path& path);

  const GgufMetadata& metadata() const { return header_.metadata; }
  // In the order of their bytes.
  const std::vector<GgufTensor>& tensors() const { return header_.tensors; }
  // Null when the file has no such tensor.
  const GgufTensor* Find(std::string_view name) const;
  const std::filesystem::path& path() const { return file_.path(); }

  // Values first .. first + values.size() of the tensor, dequantised; both must be whole blocks.
  Status ReadFloats(const GgufTensor& tensor, int64_t first, std::span<float> values) const;
  // As stored; `bytes` from that offset of the tensor's own.
  Status ReadBytes(const GgufTensor& tensor, int64_t offset, std::span<std::byte> bytes) const;

 private:
  explicit GgufFile(RandomFile file) : file_(std::move(file)) {}

  RandomFile file_;
  GgufHeader header_;
  std::map<std::string, size_t, std::less<>> index_;
};

}  // namespace trainyard::worker
