#include "worker/checkpoint/safetensors_writer.h"

#include <algorithm>
#include <nlohmann/json.hpp>
#include <set>

#include "worker/checkpoint/float_formats.h"

namespace trainyard::worker {
namespace {

using nlohmann::ordered_json;

template <class T>
std::string_view BytesOf(std::span<const T> values) {
  return {reinterpret_cast<const char*>(values.data()), values.size_bytes()};
}

Status CheckTensor(const TensorToWrite& tensor) {
  int64_t count = 1;
  bool fits = true;
  for (const int64_t dim : tensor.shape)
    fits = fits && dim >= 0 && !__builtin_mul_overflow(count, dim, &count);
  if (!fits || count != tensor.count)
    return InvalidArgument("tensor {:?}: its shape does not have {} elements", tensor.name,
                           tensor.count);
  if (tensor.type != TensorType::kF32 && tensor.type != TensorType::kBF16)
    return InvalidArgument("tensor {:?}: only F32 and BF16 are written, not {}", tensor.name,
                           NameOf(tensor.type));
  if (tensor.name == "__metadata__" || FindInvalidUtf8(tensor.name) != std::string_view::npos)
    return InvalidArgument("a tensor cannot be named {:?}", tensor.name);
  return OkStatus();
}

// Padded with spaces so that the data begins at a multiple of 8 bytes.
StatusOr<std::string> HeaderOf(std::span<const TensorToWrite> tensors) {
  ordered_json header;
  header["__metadata__"] = {{"format", "pt"}};
  std::set<std::string> names;
  int64_t offset = 0;
  for (const TensorToWrite& tensor : tensors) {
    RETURN_IF_ERROR(CheckTensor(tensor));
    if (!names.insert(tensor.name).second)
      return InvalidArgument("tensor {:?} is given twice", tensor.name);
    const int64_t end = offset + tensor.count * SizeOf(tensor.type);
    header[tensor.name] = {
        {"dtype", NameOf(tensor.type)}, {"shape", tensor.shape}, {"data_offsets", {offset, end}}};
    offset = end;
  }
  std::string text = header.dump();
  text.append((8 - text.size() % 8) % 8, ' ');
  return text;
}

Status WriteValues(const TensorToWrite& tensor, HashedFile* file) {
  const std::span<const float> values(tensor.values, static_cast<size_t>(tensor.count));
  if (tensor.type == TensorType::kF32) return file->Write(BytesOf(values));
  std::vector<uint16_t> piece;
  for (size_t done = 0; done < values.size(); done += piece.size()) {
    piece.resize(std::min(size_t{1} << 16, values.size() - done));
    std::transform(values.begin() + static_cast<ptrdiff_t>(done),
                   values.begin() + static_cast<ptrdiff_t>(done + piece.size()), piece.begin(),
                   Bfloat16FromFloat);
    RETURN_IF_ERROR(file->Write(BytesOf(std::span<const uint16_t>(piece))));
  }
  return OkStatus();
}

}  // namespace

StatusOr<FileDigest> WriteSafetensors(const std::filesystem::path& path,
                                      std::span<const TensorToWrite> tensors,
                                      const PieceWritten& piece_written) {
  ASSIGN_OR_RETURN(const std::string header, HeaderOf(tensors));
  ASSIGN_OR_RETURN(HashedFile file, HashedFile::Create(path, piece_written));
  const uint64_t length = header.size();
  RETURN_IF_ERROR(file.Write(BytesOf(std::span<const uint64_t>(&length, 1))));
  RETURN_IF_ERROR(file.Write(header));
  for (const TensorToWrite& tensor : tensors) RETURN_IF_ERROR(WriteValues(tensor, &file));
  return file.Finish();
}

}  // namespace trainyard::worker
