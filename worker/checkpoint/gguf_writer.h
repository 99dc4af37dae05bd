// Writes GGUF files, version 3, that llama.cpp loads: keys, tensor entries, then the tensors' data,
// each padded to 32 bytes.
#pragma once

#include <filesystem>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "common/status.h"
#include "worker/checkpoint/gguf_header.h"
#include "worker/checkpoint/hashed_file.h"

namespace trainyard::worker {

// Values of the types that llama.cpp expects for its keys.
GgufValue GgufUint32(uint32_t number);
GgufValue GgufFloat32(float number);
GgufValue GgufBool(bool flag);
GgufValue GgufString(std::string text);
GgufValue GgufStrings(std::vector<std::string> texts);
GgufValue GgufBools(const std::vector<bool>& flags);
GgufValue GgufInt32s(std::vector<int64_t> numbers);
GgufValue GgufFloat32s(std::vector<double> numbers);

struct GgufTensorSpec {
  std::string name;
  GgmlType type = GgmlType::kF32;
  std::vector<int64_t> shape;  // outermost first
};

class GgufWriter {
 public:
  using Keys = std::vector<std::pair<std::string, GgufValue>>;

  // Creates `path` and writes its head. InvalidArgument for a repeated or empty name or key, a name
  // of 64 bytes or more (llama.cpp's limit), a shape of more than 4 dims, of a dim below 1 or with
  // rows that are not whole blocks. A full disk is ResourceExhausted, here and in what follows;
  // what was written stays for the caller to remove.
  static StatusOr<GgufWriter> Create(const std::filesystem::path& path, const Keys& keys,
                                     std::vector<GgufTensorSpec> tensors,
                                     PieceWritten piece_written = {});
  // The next values, quantised: of the tensors one after the other in the order given. A call stays
  // within a tensor and gives whole blocks. InvalidArgument naming the tensor whose type cannot
  // hold a value.
  Status Write(std::span<const float> values);
  // After all values: syncs the file.
  StatusOr<FileDigest> Finish();

 private:
  GgufWriter(HashedFile file, std::vector<GgufTensorSpec> tensors)
      : file_(std::move(file)), tensors_(std::move(tensors)) {}
  Status Pad();

  HashedFile file_;
  std::vector<GgufTensorSpec> tensors_;
  size_t tensor_ = 0;        // the one that is being written
  int64_t values_done_ = 0;  // of it
  std::vector<std::byte> blocks_;
};

}  // namespace trainyard::worker
