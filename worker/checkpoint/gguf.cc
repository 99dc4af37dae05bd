#include "worker/checkpoint/gguf.h"

#include <algorithm>

#include "common/require.h"
#include "worker/checkpoint/ggml_blocks.h"

namespace trainyard::worker {

StatusOr<GgufFile> GgufFile::Open(const std::filesystem::path& path) {
  ASSIGN_OR_RETURN(RandomFile opened, RandomFile::Open(path));
  GgufFile file(std::move(opened));
  StatusOr<GgufHeader> header = ParseGgufHeader(
      [&](int64_t offset, std::span<std::byte> bytes) { return file.file_.ReadAt(offset, bytes); },
      file.file_.size());
  if (!header.ok()) return Annotate(header.status(), path.string());
  file.header_ = *std::move(header);
  for (size_t i = 0; i < file.header_.tensors.size(); ++i)
    file.index_[file.header_.tensors[i].name] = i;
  return file;
}

const GgufTensor* GgufFile::Find(std::string_view name) const {
  const auto found = index_.find(name);
  return found == index_.end() ? nullptr : &tensors()[found->second];
}

Status GgufFile::ReadBytes(const GgufTensor& tensor, int64_t offset,
                           std::span<std::byte> bytes) const {
  REQUIRE(offset >= 0 && offset <= tensor.bytes &&
          static_cast<int64_t>(bytes.size()) <= tensor.bytes - offset);
  return file_.ReadAt(tensor.begin + offset, bytes);
}

Status GgufFile::ReadFloats(const GgufTensor& tensor, int64_t first,
                            std::span<float> values) const {
  constexpr size_t kPieceValues = size_t{1} << 17;  // whole blocks of every type
  const GgmlTypeRow& row = RowOf(tensor.type);
  REQUIRE(first % row.block_values == 0 &&
          static_cast<int64_t>(values.size()) % row.block_values == 0);
  if (tensor.type == GgmlType::kF32)
    return ReadBytes(tensor, first * 4, std::as_writable_bytes(values));
  std::vector<std::byte> blocks;
  while (!values.empty()) {
    const std::span<float> piece = values.first(std::min(kPieceValues, values.size()));
    blocks.resize(piece.size() / static_cast<size_t>(row.block_values) *
                  static_cast<size_t>(row.block_bytes));
    RETURN_IF_ERROR(ReadBytes(tensor, first / row.block_values * row.block_bytes, blocks));
    DequantiseBlocks(tensor.type, blocks, piece);
    first += static_cast<int64_t>(piece.size());
    values = values.subspan(piece.size());
  }
  return OkStatus();
}

}  // namespace trainyard::worker
