// Reads safetensors files: an 8-byte little-endian header length, a JSON header, then the tensors'
// bytes (https://github.com/huggingface/safetensors). The header is not trusted:
//   * at least 8 bytes; the header has at most 100 MB, ends inside the file and begins with '{';
//   * it is strict UTF-8 JSON, at most 4 deep, without duplicate keys or bytes after the object;
//   * each entry has exactly a known dtype, unsigned dims and two offsets; begin <= end <= data
//     length; end - begin is the checked product of the dims times the element's size (no dims: one
//     element; a dim of 0: none);
//   * the tensors' ranges follow each other without hole or overlap and cover the whole file.
// A file that breaks a rule is DataLoss, naming file, tensor and rule. No name in a file is ever
// used as a path.
#pragma once

#include <cstdint>
#include <filesystem>
#include <map>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "common/status.h"
#include "worker/checkpoint/random_file.h"

namespace trainyard::worker {

enum class TensorType { kF64, kF32, kF16, kBF16, kI64, kI32, kI16, kI8, kU8, kBool };

// "F32" and so on, as in the file; bytes per element.
std::string_view NameOf(TensorType type);
int64_t SizeOf(TensorType type);

struct TensorEntry {
  std::string name;
  TensorType type = TensorType::kF32;
  std::vector<int64_t> shape;
  int64_t count = 0;  // elements
  int64_t begin = 0;  // byte offset in the file
  int64_t bytes = 0;
};

class SafetensorsFile {
 public:
  static StatusOr<SafetensorsFile> Open(const std::filesystem::path& path);

  // In the order of their bytes.
  const std::vector<TensorEntry>& tensors() const { return tensors_; }
  // Null when the file has no such tensor.
  const TensorEntry* Find(std::string_view name) const;
  const std::map<std::string, std::string>& metadata() const { return metadata_; }

  // As stored, from that byte of the tensor's own on; the range must be inside the tensor.
  Status ReadBytes(const TensorEntry& tensor, int64_t offset, std::span<std::byte> bytes) const;
  // Elements first .. first + values.size(). Converts F32, BF16 and F16; InvalidArgument for
  // others.
  Status ReadFloats(const TensorEntry& tensor, int64_t first, std::span<float> values) const;
  const std::filesystem::path& path() const { return file_.path(); }

 private:
  explicit SafetensorsFile(RandomFile file) : file_(std::move(file)) {}

  RandomFile file_;
  std::vector<TensorEntry> tensors_;
  std::map<std::string, size_t, std::less<>> index_;
  std::map<std::string, std::string> metadata_;
};

}  // namespace trainyard::worker
