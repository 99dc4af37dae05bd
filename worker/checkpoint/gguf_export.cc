#include "worker/checkpoint/gguf_export.h"

#include <algorithm>
#include <cstdlib>

#include "worker/checkpoint/gguf_names.h"

namespace trainyard::worker {
namespace {

using enum GgufReshape;
using Visit = std::function<Status(std::span<const float>)>;

int64_t RowValues(const SourceTensor& tensor) {
  return tensor.shape.size() < 2 ? 1 : tensor.shape.back();
}

// llama.cpp's choice for Q4_K_M (src/llama-quant.cpp): the first and last eighth of the blocks, and
// every third between them.
bool TakesMoreBits(int64_t block, int64_t blocks) {
  const int64_t eighth = blocks / 8;
  return block < eighth || block >= 7 * blocks / 8 || (block - eighth) % 3 == 2;
}

// The block's number in "blk.7.attn_v.weight".
int64_t BlockOf(const std::string& name) { return std::strtoll(name.c_str() + 4, nullptr, 10); }

// llama-quantize's choice (src/llama-quant.cpp): the head, or the embedding that stands for it, has
// more bits than the rest; of Q4_K_M also half of the value and down projections.
GgmlType WantedType(const std::string& name, const GgufExport& options) {
  const GgmlTypeRow& row = RowOf(options.type);
  if (row.block_bytes >= row.block_values) return options.type;  // 8 bits a value or more
  if (name == "output.weight" || (name == "token_embd.weight" && options.embedding_is_head)) {
    return GgmlType::kQ6_K;
  }
  const bool is_sensitive = name.ends_with(".attn_v.weight") ||
                            name.ends_with(".attn_qkv.weight") ||
                            name.ends_with(".ffn_down.weight");
  return options.type == GgmlType::kQ4_K && is_sensitive &&
                 TakesMoreBits(BlockOf(name), options.blocks)
             ? GgmlType::kQ6_K
             : options.type;
}

GgmlType TypeOf(const SourceTensor& tensor, const GgufName& name, const GgufExport& options) {
  const bool is_table = name.name == "position_embd.weight" || name.name == "token_types.weight";
  if (tensor.shape.size() < 2 || is_table) return GgmlType::kF32;
  const int64_t row_values =
      name.reshape == kTransposed ? tensor.shape.front() : tensor.shape.back();
  const auto fits = [&](GgmlType type) { return row_values % RowOf(type).block_values == 0; };
  GgmlType type = WantedType(name.name, options);
  if (!fits(type) && type == GgmlType::kQ4_K) type = GgmlType::kQ5_0;
  if (!fits(type) && type == GgmlType::kQ6_K) type = GgmlType::kQ8_0;
  return fits(type) ? type : GgmlType::kF16;
}

// Row 2j + k of a head is row j of its half k.
Status VisitInterleaved(const ModelSource& source, const SourceTensor& tensor, int64_t heads,
                        const Visit& visit) {
  const int64_t row_values = RowValues(tensor);
  const int64_t head_rows = tensor.shape[0] / heads, half = head_rows / 2;
  if (half * 2 * heads != tensor.shape[0])
    return InvalidArgument("tensor {:?} of shape [{}] is not rows of {} heads", tensor.name,
                           fmt::join(tensor.shape, ", "), heads);
  std::vector<float> values(static_cast<size_t>(head_rows * row_values));
  for (int64_t head = 0; head < heads; ++head) {
    for (int64_t row = 0; row < head_rows; ++row)
      RETURN_IF_ERROR(
          source.ReadFloats(tensor, (head * head_rows + row % 2 * half + row / 2) * row_values,
                            std::span(values).subspan(static_cast<size_t>(row * row_values),
                                                      static_cast<size_t>(row_values))));
    RETURN_IF_ERROR(visit(values));
  }
  return OkStatus();
}

Status VisitTransposed(const ModelSource& source, const SourceTensor& tensor, const Visit& visit) {
  const auto rows = static_cast<size_t>(tensor.shape[0]);
  const auto columns = static_cast<size_t>(tensor.shape[1]);
  std::vector<float> values(rows * columns), turned(rows * columns);
  RETURN_IF_ERROR(source.ReadFloats(tensor, 0, values));
  for (size_t r = 0; r < rows; ++r)
    for (size_t c = 0; c < columns; ++c) turned[c * rows + r] = values[r * columns + c];
  return visit(turned);
}

// Whole rows at a time, so that pieces are whole blocks.
Status VisitRows(const ModelSource& source, const SourceTensor& tensor, float added,
                 const Visit& visit) {
  constexpr int64_t kPieceValues = int64_t{1} << 18;
  const int64_t row = RowValues(tensor), unit = tensor.unit % row == 0 ? tensor.unit : row;
  const int64_t piece = std::max(kPieceValues / unit, int64_t{1}) * unit;
  std::vector<float> values;
  for (int64_t done = 0; done < tensor.count; done += piece) {
    values.resize(static_cast<size_t>(std::min(piece, tensor.count - done)));
    RETURN_IF_ERROR(source.ReadFloats(tensor, done, values));
    if (added != 0)
      for (float& value : values) value += added;
    RETURN_IF_ERROR(visit(values));
  }
  return OkStatus();
}

Status VisitAsGguf(const ModelSource& source, const SourceTensor& tensor, GgufReshape reshape,
                   const GgufExport& options, const Visit& visit) {
  switch (reshape) {
    case kInterleavedQueries:
      return VisitInterleaved(source, tensor, options.heads, visit);
    case kInterleavedKeys:
      return VisitInterleaved(source, tensor, options.kv_heads, visit);
    case kTransposed:
      return VisitTransposed(source, tensor, visit);
    case kPlusOne:
      return VisitRows(source, tensor, 1, visit);
    case kNone:
      break;
  }
  return VisitRows(source, tensor, 0, visit);
}

struct Part {
  const SourceTensor* tensor = nullptr;
  GgufName name;
};

}  // namespace

StatusOr<FileDigest> WriteGguf(const ModelSource& source, const std::filesystem::path& path,
                               const GgufExport& options, const PieceWritten& piece_written,
                               std::vector<std::string>* left_out) {
  std::vector<Part> parts;
  std::vector<GgufTensorSpec> specs;
  if (!options.rope_factors.empty())
    specs.push_back({"rope_freqs.weight", GgmlType::kF32, {std::ssize(options.rope_factors)}});
  for (const SourceTensor& tensor : source.tensors()) {
    const std::optional<GgufName> name = GgufNameOfHf(options.architecture, tensor.name);
    if (!name.has_value()) {
      left_out->push_back(tensor.name);
      continue;
    }
    parts.push_back({&tensor, *name});
    specs.push_back({name->name, TypeOf(tensor, *name, options), tensor.shape});
    if (name->reshape == kTransposed)
      std::reverse(specs.back().shape.begin(), specs.back().shape.end());
  }
  ASSIGN_OR_RETURN(GgufWriter writer,
                   GgufWriter::Create(path, options.keys, std::move(specs), piece_written));
  if (!options.rope_factors.empty()) RETURN_IF_ERROR(writer.Write(options.rope_factors));
  for (const Part& part : parts)
    RETURN_IF_ERROR(
        VisitAsGguf(source, *part.tensor, part.name.reshape, options,
                    [&](std::span<const float> values) { return writer.Write(values); }));
  return writer.Finish();
}

}  // namespace trainyard::worker
