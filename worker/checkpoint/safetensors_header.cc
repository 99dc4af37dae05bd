#include "worker/checkpoint/safetensors_header.h"

#include <algorithm>
#include <array>
#include <nlohmann/json.hpp>

#include "worker/checkpoint/strict_json.h"

namespace trainyard::worker {
namespace {

using nlohmann::json;

struct TypeRow {
  TensorType type;
  std::string_view name;
  int64_t size;
};
constexpr std::array<TypeRow, 10> kTypes = {{{TensorType::kF64, "F64", 8},
                                             {TensorType::kF32, "F32", 4},
                                             {TensorType::kF16, "F16", 2},
                                             {TensorType::kBF16, "BF16", 2},
                                             {TensorType::kI64, "I64", 8},
                                             {TensorType::kI32, "I32", 4},
                                             {TensorType::kI16, "I16", 2},
                                             {TensorType::kI8, "I8", 1},
                                             {TensorType::kU8, "U8", 1},
                                             {TensorType::kBool, "BOOL", 1}}};

const TypeRow& RowOf(TensorType type) { return kTypes[static_cast<size_t>(type)]; }

StatusOr<json> ParseHeaderJson(std::string_view text) {
  constexpr size_t kMaxDepth = 4;
  if (text.empty() || text[0] != '{') return DataLoss("the header does not begin with '{{'");
  StatusOr<json> document = ParseStrictJson(text, kMaxDepth);
  if (!document.ok()) return Annotate(document.status(), "the header");
  return document;
}

StatusOr<int64_t> ReadUnsigned(const json& value, std::string_view what) {
  if (!value.is_number_unsigned() || value.get<uint64_t>() > uint64_t{INT64_MAX})
    return DataLoss("{} is not a whole number from 0 to 2^63 - 1", what);
  return value.get<int64_t>();
}

Status ReadShape(const json& shape, TensorEntry* tensor) {
  if (!shape.is_array()) return DataLoss("its shape is not a list");
  tensor->count = 1;
  for (const json& item : shape) {
    ASSIGN_OR_RETURN(const int64_t dim, ReadUnsigned(item, "a dim of its shape"));
    tensor->shape.push_back(dim);
    if (__builtin_mul_overflow(tensor->count, dim, &tensor->count))
      return DataLoss("the product of its dims does not fit in 63 bits");
  }
  if (__builtin_mul_overflow(tensor->count, SizeOf(tensor->type), &tensor->bytes))
    return DataLoss("its size in bytes does not fit in 63 bits");
  return OkStatus();
}

Status ReadOffsets(const json& offsets, int64_t data_bytes, TensorEntry* tensor) {
  if (!offsets.is_array() || offsets.size() != 2)
    return DataLoss("its data_offsets are not two numbers");
  ASSIGN_OR_RETURN(tensor->begin, ReadUnsigned(offsets[0], "its first offset"));
  ASSIGN_OR_RETURN(const int64_t end, ReadUnsigned(offsets[1], "its second offset"));
  if (tensor->begin > end || end > data_bytes)
    return DataLoss("its range {}..{} is not inside the {} bytes of data", tensor->begin, end,
                    data_bytes);
  if (end - tensor->begin != tensor->bytes)
    return DataLoss("its range has {} bytes, its shape and dtype need {}", end - tensor->begin,
                    tensor->bytes);
  return OkStatus();
}

StatusOr<TensorEntry> ReadEntry(const std::string& name, const json& entry, int64_t data_bytes) {
  if (!entry.is_object() || entry.size() != 3 || !entry.contains("dtype") ||
      !entry.contains("shape") || !entry.contains("data_offsets"))
    return DataLoss("it needs exactly dtype, shape and data_offsets");
  TensorEntry tensor;
  tensor.name = name;
  const auto row = std::find_if(kTypes.begin(), kTypes.end(),
                                [&](const TypeRow& row) { return entry["dtype"] == row.name; });
  if (row == kTypes.end()) return DataLoss("its dtype {} is not known", entry["dtype"].dump());
  tensor.type = row->type;
  RETURN_IF_ERROR(ReadShape(entry["shape"], &tensor));
  RETURN_IF_ERROR(ReadOffsets(entry["data_offsets"], data_bytes, &tensor));
  return tensor;
}

Status ReadMetadata(const json& entries, std::map<std::string, std::string>* metadata) {
  if (!entries.is_object()) return DataLoss("__metadata__ is not an object");
  for (const auto& [key, value] : entries.items()) {
    if (!value.is_string()) return DataLoss("__metadata__ {:?} is not a string", key);
    (*metadata)[key] = value.get<std::string>();
  }
  return OkStatus();
}

// Ranges, sorted by begin, must follow each other from 0 to the end of the data.
Status CheckRanges(const std::vector<TensorEntry>& tensors, int64_t data_bytes) {
  int64_t reached = 0;
  for (const TensorEntry& tensor : tensors) {
    if (tensor.begin != reached)
      return DataLoss("tensor {:?} begins at byte {}, but the one before ends at {}", tensor.name,
                      tensor.begin, reached);
    reached += tensor.bytes;
  }
  if (reached != data_bytes)
    return DataLoss("the tensors end at byte {} of {} bytes of data", reached, data_bytes);
  return OkStatus();
}

}  // namespace

std::string_view NameOf(TensorType type) { return RowOf(type).name; }
int64_t SizeOf(TensorType type) { return RowOf(type).size; }

StatusOr<SafetensorsHeader> ParseSafetensorsHeader(std::string_view text, int64_t data_bytes) {
  ASSIGN_OR_RETURN(const json document, ParseHeaderJson(text));
  SafetensorsHeader header;
  for (const auto& [name, entry] : document.items()) {
    if (name == "__metadata__") {
      RETURN_IF_ERROR(ReadMetadata(entry, &header.metadata));
      continue;
    }
    StatusOr<TensorEntry> tensor = ReadEntry(name, entry, data_bytes);
    if (!tensor.ok()) return Annotate(tensor.status(), fmt::format("tensor {:?}", name));
    header.tensors.push_back(*std::move(tensor));
  }
  // An empty tensor sorts before the one that begins at the same byte.
  std::sort(header.tensors.begin(), header.tensors.end(),
            [](const TensorEntry& a, const TensorEntry& b) {
              return std::tie(a.begin, a.bytes, a.name) < std::tie(b.begin, b.bytes, b.name);
            });
  RETURN_IF_ERROR(CheckRanges(header.tensors, data_bytes));
  return header;
}

}  // namespace trainyard::worker
