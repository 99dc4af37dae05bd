#include "worker/checkpoint/safetensors.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

#include "common/require.h"
#include "worker/checkpoint/float_formats.h"
#include "worker/checkpoint/safetensors_header.h"

namespace trainyard::worker {
namespace {

constexpr int64_t kLengthBytes = 8;
constexpr uint64_t kMaxHeaderBytes = 100'000'000;

}  // namespace

StatusOr<SafetensorsFile> SafetensorsFile::Open(const std::filesystem::path& path) {
  SafetensorsFile file;
  file.path_ = path;
  file.fd_ = UniqueFd(::open(path.c_str(), O_RDONLY | O_NONBLOCK | O_CLOEXEC));
  struct stat info;
  if (!file.fd_.valid() || ::fstat(file.fd_.get(), &info) != 0)
    return ErrnoStatus(errno, fmt::format("cannot open {}", path.string()));
  if (!S_ISREG(info.st_mode)) return InvalidArgument("{} is not a file", path.string());
  file.size_ = info.st_size;
  if (file.size_ < kLengthBytes)
    return DataLoss("{} is not a safetensors file: {} bytes, at least 8 are needed", path.string(),
                    file.size_);
  uint64_t header_bytes = 0;
  RETURN_IF_ERROR(file.ReadAt(0, std::as_writable_bytes(std::span(&header_bytes, 1))));
  if (header_bytes > kMaxHeaderBytes ||
      header_bytes > static_cast<uint64_t>(file.size_ - kLengthBytes))
    return DataLoss("{}: its header would have {} bytes; the file has {} and 100 MB are allowed",
                    path.string(), header_bytes, file.size_);
  std::string json(header_bytes, '\0');
  RETURN_IF_ERROR(file.ReadAt(kLengthBytes, std::as_writable_bytes(std::span(json))));
  const int64_t data_begin = kLengthBytes + static_cast<int64_t>(header_bytes);
  StatusOr<SafetensorsHeader> header = ParseSafetensorsHeader(json, file.size_ - data_begin);
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

Status SafetensorsFile::ReadAt(int64_t offset, std::span<std::byte> bytes) const {
  while (!bytes.empty()) {
    const ssize_t n = ::pread(fd_.get(), bytes.data(), bytes.size(), offset);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return ErrnoStatus(errno, fmt::format("cannot read {}", path_.string()));
    if (n == 0) return DataLoss("{} became shorter while it was read", path_.string());
    bytes = bytes.subspan(static_cast<size_t>(n));
    offset += n;
  }
  return OkStatus();
}

Status SafetensorsFile::ReadBytes(const TensorEntry& tensor, std::span<std::byte> bytes) const {
  REQUIRE(static_cast<int64_t>(bytes.size()) == tensor.bytes);
  return ReadAt(tensor.begin, bytes);
}

Status SafetensorsFile::ReadFloats(const TensorEntry& tensor, std::span<float> values) const {
  REQUIRE(static_cast<int64_t>(values.size()) == tensor.count);
  if (tensor.type == TensorType::kF32) return ReadAt(tensor.begin, std::as_writable_bytes(values));
  if (tensor.type != TensorType::kBF16 && tensor.type != TensorType::kF16)
    return InvalidArgument("{}: tensor {:?} is {}; F32, BF16 or F16 is needed here", path_.string(),
                           tensor.name, NameOf(tensor.type));
  const auto convert = tensor.type == TensorType::kBF16 ? &FloatFromBfloat16 : &FloatFromFloat16;
  std::vector<uint16_t> piece(std::min(values.size(), size_t{1} << 18));
  for (size_t done = 0; done < values.size();) {
    const size_t n = std::min(piece.size(), values.size() - done);
    RETURN_IF_ERROR(ReadAt(tensor.begin + 2 * static_cast<int64_t>(done),
                           std::as_writable_bytes(std::span(piece).first(n))));
    std::transform(piece.begin(), piece.begin() + static_cast<ptrdiff_t>(n),
                   values.begin() + static_cast<ptrdiff_t>(done), convert);
    done += n;
  }
  return OkStatus();
}

}  // namespace trainyard::worker
