#include "worker/checkpoint/safetensors_writer.h"

#include <algorithm>
#include <nlohmann/json.hpp>
#include <optional>
#include <set>

#include "common/require.h"
#include "worker/checkpoint/float_formats.h"

namespace trainyard::worker {
namespace {

using nlohmann::ordered_json;

template <class T>
std::string_view BytesOf(std::span<const T> values) {
  return {reinterpret_cast<const char*>(values.data()), values.size_bytes()};
}

// Elements; nothing where the product of the dims does not fit or a dim is negative.
std::optional<int64_t> CountOf(const std::vector<int64_t>& shape) {
  int64_t count = 1;
  for (const int64_t dim : shape)
    if (dim < 0 || __builtin_mul_overflow(count, dim, &count)) return std::nullopt;
  return count;
}

int64_t BytesOf(const TensorSpec& tensor) { return *CountOf(tensor.shape) * SizeOf(tensor.type); }

Status CheckTensor(const TensorSpec& tensor) {
  const std::optional<int64_t> count = CountOf(tensor.shape);
  if (!count.has_value() || *count > INT64_MAX / 8)
    return InvalidArgument("tensor {:?}: the shape [{}] is too large or negative", tensor.name,
                           fmt::join(tensor.shape, ", "));
  if (tensor.type != TensorType::kF32 && tensor.type != TensorType::kF16 &&
      tensor.type != TensorType::kBF16)
    return InvalidArgument("tensor {:?}: F32, F16 and BF16 are written, not {}", tensor.name,
                           NameOf(tensor.type));
  if (tensor.name == "__metadata__" || FindInvalidUtf8(tensor.name) != std::string_view::npos)
    return InvalidArgument("a tensor cannot be named {:?}", tensor.name);
  return OkStatus();
}

// Padded with spaces so that the data begins at a multiple of 8 bytes.
StatusOr<std::string> HeaderOf(std::span<const TensorSpec> tensors) {
  ordered_json header;
  header["__metadata__"] = {{"format", "pt"}};
  std::set<std::string> names;
  int64_t offset = 0;
  for (const TensorSpec& tensor : tensors) {
    RETURN_IF_ERROR(CheckTensor(tensor));
    if (!names.insert(tensor.name).second)
      return InvalidArgument("tensor {:?} is given twice", tensor.name);
    const int64_t end = offset + BytesOf(tensor);
    header[tensor.name] = {
        {"dtype", NameOf(tensor.type)}, {"shape", tensor.shape}, {"data_offsets", {offset, end}}};
    offset = end;
  }
  std::string text = header.dump();
  text.append((8 - text.size() % 8) % 8, ' ');
  return text;
}

bool IsInfinite(uint16_t half) { return (half & 0x7C00) == 0x7C00; }

}  // namespace

StatusOr<SafetensorsWriter> SafetensorsWriter::Create(const std::filesystem::path& path,
                                                      std::vector<TensorSpec> tensors,
                                                      PieceWritten piece_written, Hashing hashing) {
  ASSIGN_OR_RETURN(const std::string header, HeaderOf(tensors));
  ASSIGN_OR_RETURN(HashedFile file, HashedFile::Create(path, std::move(piece_written), hashing));
  const uint64_t length = header.size();
  RETURN_IF_ERROR(file.Write(BytesOf(std::span<const uint64_t>(&length, 1))));
  RETURN_IF_ERROR(file.Write(header));
  SafetensorsWriter writer(std::move(file), std::move(tensors));
  writer.SkipDone();
  return writer;
}

void SafetensorsWriter::SkipDone() {
  while (tensor_ < tensors_.size() && bytes_done_ == BytesOf(tensors_[tensor_])) {
    ++tensor_;
    bytes_done_ = 0;
  }
}

Status SafetensorsWriter::WriteBytes(std::string_view bytes) {
  if (bytes.empty()) return OkStatus();
  const auto size = static_cast<int64_t>(bytes.size());
  REQUIRE(tensor_ < tensors_.size() && size <= BytesOf(tensors_[tensor_]) - bytes_done_);
  RETURN_IF_ERROR(file_.Write(bytes));
  bytes_done_ += size;
  SkipDone();
  return OkStatus();
}

Status SafetensorsWriter::WriteFloats(std::span<const float> values) {
  if (values.empty()) return OkStatus();
  REQUIRE(tensor_ < tensors_.size());
  const TensorType type = tensors_[tensor_].type;
  if (type == TensorType::kF32) return WriteBytes(BytesOf(values));
  std::vector<uint16_t> piece;
  while (!values.empty()) {
    piece.resize(std::min(size_t{1} << 16, values.size()));
    std::transform(values.begin(), values.begin() + static_cast<ptrdiff_t>(piece.size()),
                   piece.begin(),
                   type == TensorType::kF16 ? &Float16FromFloat : &Bfloat16FromFloat);
    if (type == TensorType::kF16 && std::any_of(piece.begin(), piece.end(), IsInfinite))
      return InvalidArgument("tensor {:?}: a value is too large for F16; BF16 and F32 hold it",
                             tensors_[tensor_].name);
    values = values.subspan(piece.size());
    RETURN_IF_ERROR(WriteBytes(BytesOf(std::span<const uint16_t>(piece))));
  }
  return OkStatus();
}

StatusOr<FileDigest> SafetensorsWriter::Finish() {
  REQUIRE(tensor_ == tensors_.size());
  return file_.Finish();
}

StatusOr<FileDigest> WriteSafetensors(const std::filesystem::path& path,
                                      std::span<const TensorToWrite> tensors,
                                      const PieceWritten& piece_written) {
  std::vector<TensorSpec> specs;
  for (const TensorToWrite& tensor : tensors) {
    if (CountOf(tensor.shape) != tensor.count)
      return InvalidArgument("tensor {:?}: its shape does not have {} elements", tensor.name,
                             tensor.count);
    specs.push_back({tensor.name, tensor.type, tensor.shape});
  }
  ASSIGN_OR_RETURN(SafetensorsWriter writer,
                   SafetensorsWriter::Create(path, std::move(specs), piece_written));
  for (const TensorToWrite& tensor : tensors)
    RETURN_IF_ERROR(
        writer.WriteFloats(std::span(tensor.values, static_cast<size_t>(tensor.count))));
  return writer.Finish();
}

}  // namespace trainyard::worker
