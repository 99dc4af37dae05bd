// Writes safetensors files that transformers and every other reader of the format accept.
#pragma once

#include <filesystem>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "common/status.h"
#include "worker/checkpoint/hashed_file.h"
#include "worker/checkpoint/safetensors.h"

namespace trainyard::worker {

struct TensorSpec {
  std::string name;
  TensorType type = TensorType::kF32;  // or F16, BF16
  std::vector<int64_t> shape;
};

// The tensors' values in pieces, so that a file may be larger than memory.
class SafetensorsWriter {
 public:
  // Creates `path` and writes its head; tensors lie in the order given. __metadata__ is
  // {"format": "pt"}. InvalidArgument for a repeated or reserved name, a negative dim or another
  // type. A full disk is ResourceExhausted, here and in what follows; what was written stays for
  // the caller to remove.
  static StatusOr<SafetensorsWriter> Create(const std::filesystem::path& path,
                                            std::vector<TensorSpec> tensors,
                                            PieceWritten piece_written = {},
                                            Hashing hashing = Hashing::kInTurn);
  // The next values, of the tensors one after the other; a call stays within a tensor. Rounded to
  // nearest even on the way to F16 and BF16; InvalidArgument naming the tensor for a value that F16
  // cannot hold.
  Status WriteFloats(std::span<const float> values);
  // The same, of values that have the tensor's type already.
  Status WriteBytes(std::string_view bytes);
  // After all values: syncs the file.
  StatusOr<FileDigest> Finish();

 private:
  SafetensorsWriter(HashedFile file, std::vector<TensorSpec> tensors)
      : file_(std::move(file)), tensors_(std::move(tensors)) {}
  void SkipDone();

  HashedFile file_;
  std::vector<TensorSpec> tensors_;
  size_t tensor_ = 0;       // the one that is being written
  int64_t bytes_done_ = 0;  // of it
};

struct TensorToWrite {
  std::string name;
  TensorType type = TensorType::kF32;  // F32 or BF16
  std::vector<int64_t> shape;
  const float* values = nullptr;
  int64_t count = 0;  // elements
};

// A whole file by SafetensorsWriter. InvalidArgument also for a shape that does not have `count`
// elements.
StatusOr<FileDigest> WriteSafetensors(const std::filesystem::path& path,
                                      std::span<const TensorToWrite> tensors,
                                      const PieceWritten& piece_written = {});

}  // namespace trainyard::worker
