#include "worker/checkpoint/copy_weights.h"

#include <algorithm>

#include "worker/checkpoint/safetensors_writer.h"

namespace trainyard::worker {
namespace {

// The narrowest type that holds the values of both.
TensorType Wider(TensorType a, TensorType b) { return a == b ? a : TensorType::kF32; }

}  // namespace

StatusOr<CopiedWeights> CopyWeights(const ModelSource& source, const std::filesystem::path& path,
                                    std::optional<TensorType> type,
                                    const PieceWritten& piece_written) {
  struct Copy {
    const SourceTensor* tensor;
    TensorType type;
  };
  std::vector<Copy> copies;
  for (const SourceTensor& tensor : source.tensors())
    copies.push_back({&tensor, type.value_or(tensor.type.value_or(TensorType::kF32))});
  std::stable_sort(copies.begin(), copies.end(),
                   [](const Copy& a, const Copy& b) { return SizeOf(a.type) > SizeOf(b.type); });
  CopiedWeights copied;
  if (!copies.empty()) copied.type = copies[0].type;
  std::vector<TensorSpec> specs;
  for (const Copy& copy : copies) {
    specs.push_back({copy.tensor->name, copy.type, copy.tensor->shape});
    copied.type = Wider(copied.type, copy.type);
    copied.parameters += copy.tensor->count;
  }
  ASSIGN_OR_RETURN(
      SafetensorsWriter writer,
      SafetensorsWriter::Create(path, std::move(specs), piece_written, Hashing::kBeside));
  for (const Copy& copy : copies) {
    if (copy.tensor->type == copy.type) {
      RETURN_IF_ERROR(source.VisitBytes(
          *copy.tensor, [&](std::string_view bytes) { return writer.WriteBytes(bytes); }));
    } else {
      RETURN_IF_ERROR(source.VisitFloats(
          *copy.tensor, [&](std::span<const float> values) { return writer.WriteFloats(values); }));
    }
  }
  ASSIGN_OR_RETURN(copied.digest, writer.Finish());
  return copied;
}

std::string DtypeOf(TensorType type) {
  return type == TensorType::kF16 ? "float16" : type == TensorType::kBF16 ? "bfloat16" : "float32";
}

}  // namespace trainyard::worker
