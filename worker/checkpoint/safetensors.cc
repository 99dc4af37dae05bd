#include "worker/checkpoint/safetensors.h"

#include <algorithm>

#include "common/require.h"
#include "worker/checkpoint/float_formats.h"
#include "worker/checkpoint/safetensors_header.h"

namespace trainyard::worker {
namespace {

constexpr int64_t kLengthBytes = 8;
constexpr uint64_t kMaxHeaderBytes = 100'000'000;

}  // namespace

StatusOr<SafetensorsFile> SafetensorsFile::Open(const std::filesystem::path& path) {
  ASSIGN_OR_RETURN(RandomFile opened, RandomFile::Open(path));
  SafetensorsFile file(std::move(opened));
  const int64_t size = file.file_.size();
  if (size < kLengthBytes)
    return DataLoss("{} is not a safetensors file: {} bytes, at least 8 are needed", path.string(),
                    size);
  uint64_t header_bytes = 0;
  RETURN_IF_ERROR(file.file_.ReadAt(0, std::as_writable_bytes(std::span(&header_bytes, 1))));
  if (header_bytes > kMaxHeaderBytes || header_bytes > static_cast<uint64_t>(size - kLengthBytes))
    return DataLoss("{}: its header would have {} bytes; the file has {} and 100 MB are allowed",
                    path.string(), header_bytes, size);
  std::string json(header_bytes, '\0');
  RETURN_IF_ERROR(file.file_.ReadAt(kLengthBytes, std::as_writable_bytes(std::span(json))));
  const int64_t data_begin = kLengthBytes + static_cast<int64_t>(header_bytes);
  StatusOr<SafetensorsHeader> header = ParseSafetensorsHeader(json, size - data_begin);
  if (!header.ok()) return Annotate(header.status(), path.string());
  file.tensors_ = std::move(header->tensors);
  file.metadata_ = std::move(header->metadata);
  for (size_t i = 0; i < file.tensors_.size(); ++i) {
    file.tensors_[i].begin += data_begin;
    file.index_[file.tensors_[i].name] = i;
  }
  return file;
}

const TensorEntry* SafetensorsFile::Find(std::string_view name) const {
  const auto found = index_.find(name);
  return found == index_.end() ? nullptr : &tensors_[found->second];
}

Status SafetensorsFile::ReadBytes(const TensorEntry& tensor, int64_t offset,
                                  std::span<std::byte> bytes) const {
  REQUIRE(offset >= 0 && offset <= tensor.bytes &&
          static_cast<int64_t>(bytes.size()) <= tensor.bytes - offset);
  return file_.ReadAt(tensor.begin + offset, bytes);
}

Status SafetensorsFile::ReadFloats(const TensorEntry& tensor, int64_t first,
                                   std::span<float> values) const {
  if (tensor.type == TensorType::kF32)
    return ReadBytes(tensor, 4 * first, std::as_writable_bytes(values));
  if (tensor.type != TensorType::kBF16 && tensor.type != TensorType::kF16)
    return InvalidArgument("{}: tensor {:?} is {}; F32, BF16 or F16 is needed here",
                           path().string(), tensor.name, NameOf(tensor.type));
  const auto convert = tensor.type == TensorType::kBF16 ? &FloatFromBfloat16 : &FloatFromFloat16;
  std::vector<uint16_t> piece(std::min(values.size(), size_t{1} << 18));
  for (size_t done = 0; done < values.size();) {
    const size_t n = std::min(piece.size(), values.size() - done);
    RETURN_IF_ERROR(ReadBytes(tensor, 2 * (first + static_cast<int64_t>(done)),
                              std::as_writable_bytes(std::span(piece).first(n))));
    std::transform(piece.begin(), piece.begin() + static_cast<ptrdiff_t>(n),
                   values.begin() + static_cast<ptrdiff_t>(done), convert);
    done += n;
  }
  return OkStatus();
}

}  // namespace trainyard::worker
