#include "worker/checkpoint/gguf_header.h"

#include <algorithm>
#include <bit>
#include <cstring>
#include <set>

#include "common/files.h"
#include "worker/checkpoint/gguf_cursor.h"

namespace trainyard::worker {
namespace {

constexpr int64_t kHeaderBytesMax = int64_t{256} << 20;
constexpr int64_t kEntriesMax = 65'536;
constexpr int64_t kElementsMax = int64_t{1} << 22;  // a vocabulary of 256k takes 1.3 million
constexpr int kListDepthMax = 4;
constexpr int64_t kKeyBytesMax = 65'535;
constexpr int64_t kNameBytesMax = 255;
constexpr int64_t kTextBytesMax = int64_t{64} << 20;
constexpr uint32_t kDimsMax = 4;
constexpr int64_t kAlignmentMax = int64_t{1} << 20;
// The least an entry takes: a key of one byte with a one-byte value; a name of one byte, no dims.
constexpr int64_t kKeyEntryBytesMin = 8 + 1 + 4 + 1;
constexpr int64_t kTensorEntryBytesMin = 8 + 1 + 4 + 4 + 8;

// Bytes of one value in a file; of a string or a list, the least it takes.
int64_t BytesOf(GgufValueType type) {
  switch (type) {
    case GgufValueType::kUint8:
    case GgufValueType::kInt8:
    case GgufValueType::kBool:
      return 1;
    case GgufValueType::kUint16:
    case GgufValueType::kInt16:
      return 2;
    case GgufValueType::kUint32:
    case GgufValueType::kInt32:
    case GgufValueType::kFloat32:
      return 4;
    case GgufValueType::kString:
    case GgufValueType::kUint64:
    case GgufValueType::kInt64:
    case GgufValueType::kFloat64:
      return 8;
    case GgufValueType::kList:
      return 12;
  }
  return 1;
}

template <class Stored, class Kept>
StatusOr<Kept> Number(GgufCursor& cursor) {
  ASSIGN_OR_RETURN(const Stored number, cursor.Number<Stored>());
  return static_cast<Kept>(number);
}
StatusOr<uint64_t> Unsigned(GgufCursor& cursor, GgufValueType type) {
  switch (type) {
    case GgufValueType::kUint8:
      return Number<uint8_t, uint64_t>(cursor);
    case GgufValueType::kUint16:
      return Number<uint16_t, uint64_t>(cursor);
    case GgufValueType::kUint32:
      return Number<uint32_t, uint64_t>(cursor);
    default:
      return Number<uint64_t, uint64_t>(cursor);
  }
}
StatusOr<int64_t> Signed(GgufCursor& cursor, GgufValueType type) {
  switch (type) {
    case GgufValueType::kInt8:
      return Number<int8_t, int64_t>(cursor);
    case GgufValueType::kInt16:
      return Number<int16_t, int64_t>(cursor);
    case GgufValueType::kInt32:
      return Number<int32_t, int64_t>(cursor);
    default:
      return Number<int64_t, int64_t>(cursor);
  }
}
StatusOr<double> Real(GgufCursor& cursor, GgufValueType type) {
  return type == GgufValueType::kFloat32 ? Number<float, double>(cursor)
                                         : Number<double, double>(cursor);
}
StatusOr<bool> Bool(GgufCursor& cursor) {
  ASSIGN_OR_RETURN(const uint8_t byte, cursor.Number<uint8_t>());
  if (byte > 1) return DataLoss("a bool is {}, not 0 or 1", byte);
  return byte == 1;
}

class HeaderParser {
 public:
  HeaderParser(const ReadBytesAt& read_at, int64_t file_bytes)
      : file_bytes_(file_bytes), cursor_(read_at, std::min(file_bytes, kHeaderBytesMax)) {}

  StatusOr<GgufHeader> Parse();

 private:
  Status CheckCount(uint64_t count, std::string_view what, int64_t entry_bytes_min) const;
  Status ReadKey();
  StatusOr<GgufValue> ReadValue();
  StatusOr<GgufValueType> ReadType();
  StatusOr<GgufList> ReadList(int depth);
  template <class Item, class Read>
  Status ReadItems(GgufList* list, uint64_t count, Read read);
  Status ReadAlignment();
  Status ReadTensor();
  Status ReadShape(GgufTensor* tensor);
  Status ReadPlace(GgufTensor* tensor);
  Status CheckRanges(int64_t data_begin);

  const int64_t file_bytes_;
  GgufCursor cursor_;
  GgufHeader header_;
  std::set<std::string, std::less<>> names_;
  int64_t elements_ = 0;  // of all lists so far
};

Status HeaderParser::CheckCount(uint64_t count, std::string_view what,
                                int64_t entry_bytes_min) const {
  if (count <= uint64_t{kEntriesMax} &&
      static_cast<int64_t>(count) <= cursor_.left() / entry_bytes_min)
    return OkStatus();
  return DataLoss("it announces {} {}; at most {} are allowed, and {} bytes are left for them",
                  count, what, kEntriesMax, cursor_.left());
}

StatusOr<GgufValueType> HeaderParser::ReadType() {
  ASSIGN_OR_RETURN(const uint32_t number, cursor_.Number<uint32_t>());
  if (number > static_cast<uint32_t>(GgufValueType::kFloat64))
    return DataLoss("its value type {} is not known", number);
  return static_cast<GgufValueType>(number);
}

template <class Item, class Read>
Status HeaderParser::ReadItems(GgufList* list, uint64_t count, Read read) {
  std::vector<Item> items;
  items.reserve(count);
  for (uint64_t i = 0; i < count; ++i) {
    ASSIGN_OR_RETURN(Item item, read());
    items.push_back(std::move(item));
  }
  list->items = std::move(items);
  return OkStatus();
}

StatusOr<GgufList> HeaderParser::ReadList(int depth) {
  if (depth > kListDepthMax) return DataLoss("lists nest deeper than {}", kListDepthMax);
  GgufList list;
  ASSIGN_OR_RETURN(list.element, ReadType());
  ASSIGN_OR_RETURN(const uint64_t count, cursor_.Number<uint64_t>());
  const int64_t room = std::min(cursor_.left() / BytesOf(list.element), kElementsMax - elements_);
  if (count > static_cast<uint64_t>(room))
    return DataLoss("a list announces {} elements; {} bytes are left, and {} elements are allowed",
                    count, cursor_.left(), kElementsMax);
  elements_ += static_cast<int64_t>(count);
  switch (list.element) {
    case GgufValueType::kInt8:
    case GgufValueType::kInt16:
    case GgufValueType::kInt32:
    case GgufValueType::kInt64:
      RETURN_IF_ERROR(
          ReadItems<int64_t>(&list, count, [&] { return Signed(cursor_, list.element); }));
      break;
    case GgufValueType::kFloat32:
    case GgufValueType::kFloat64:
      RETURN_IF_ERROR(ReadItems<double>(&list, count, [&] { return Real(cursor_, list.element); }));
      break;
    case GgufValueType::kString:
      RETURN_IF_ERROR(
          ReadItems<std::string>(&list, count, [&] { return cursor_.Text(kTextBytesMax); }));
      break;
    case GgufValueType::kList:
      RETURN_IF_ERROR(ReadItems<GgufList>(&list, count, [&] { return ReadList(depth + 1); }));
      break;
    case GgufValueType::kBool:
      RETURN_IF_ERROR(ReadItems<uint64_t>(&list, count, [&]() -> StatusOr<uint64_t> {
        ASSIGN_OR_RETURN(const bool value, Bool(cursor_));
        return uint64_t{value};
      }));
      break;
    default:
      RETURN_IF_ERROR(
          ReadItems<uint64_t>(&list, count, [&] { return Unsigned(cursor_, list.element); }));
  }
  return list;
}

StatusOr<GgufValue> HeaderParser::ReadValue() {
  GgufValue value;
  ASSIGN_OR_RETURN(value.type, ReadType());
  switch (value.type) {
    case GgufValueType::kInt8:
    case GgufValueType::kInt16:
    case GgufValueType::kInt32:
    case GgufValueType::kInt64: {
      ASSIGN_OR_RETURN(value.value, Signed(cursor_, value.type));
      break;
    }
    case GgufValueType::kFloat32:
    case GgufValueType::kFloat64: {
      ASSIGN_OR_RETURN(value.value, Real(cursor_, value.type));
      break;
    }
    case GgufValueType::kBool: {
      ASSIGN_OR_RETURN(value.value, Bool(cursor_));
      break;
    }
    case GgufValueType::kString: {
      ASSIGN_OR_RETURN(std::string text, cursor_.Text(kTextBytesMax));
      if (const size_t bad = FindInvalidUtf8(text); bad != std::string_view::npos) {
        return DataLoss("the text is not UTF-8 at its byte {}", bad);
      }
      value.value = std::move(text);
      break;
    }
    case GgufValueType::kList: {
      ASSIGN_OR_RETURN(value.value, ReadList(1));
      break;
    }
    default: {
      ASSIGN_OR_RETURN(value.value, Unsigned(cursor_, value.type));
    }
  }
  return value;
}

Status HeaderParser::ReadKey() {
  ASSIGN_OR_RETURN(std::string key, cursor_.Text(kKeyBytesMax));
  if (key.empty() || FindInvalidUtf8(key) != std::string_view::npos)
    return DataLoss("a key before byte {} is empty or not UTF-8", cursor_.place());
  if (header_.metadata.Has(key)) return DataLoss("the key {:?} occurs twice", key);
  StatusOr<GgufValue> value = ReadValue();
  if (!value.ok()) return Annotate(value.status(), fmt::format("key {:?}", key));
  header_.metadata.values.emplace(std::move(key), *std::move(value));
  return OkStatus();
}

Status HeaderParser::ReadAlignment() {
  constexpr std::string_view kKey = "general.alignment";
  const GgufValue* value = header_.metadata.Find(kKey);
  if (value == nullptr) return OkStatus();
  const uint64_t* number = std::get_if<uint64_t>(&value->value);
  if (value->type != GgufValueType::kUint32 || !std::has_single_bit(*number) || *number < 8 ||
      *number > kAlignmentMax)
    return DataLoss("{} must be a 32-bit power of two from 8 to {}", kKey, kAlignmentMax);
  header_.alignment = static_cast<int64_t>(*number);
  return OkStatus();
}

Status HeaderParser::ReadShape(GgufTensor* tensor) {
  ASSIGN_OR_RETURN(const uint32_t dims, cursor_.Number<uint32_t>());
  if (dims > kDimsMax) return DataLoss("it has {} dims, at most {} are allowed", dims, kDimsMax);
  tensor->count = 1;
  for (uint32_t i = 0; i < dims; ++i) {
    ASSIGN_OR_RETURN(const uint64_t dim, cursor_.Number<uint64_t>());
    if (dim == 0 || dim > uint64_t{INT64_MAX} ||
        __builtin_mul_overflow(tensor->count, static_cast<int64_t>(dim), &tensor->count))
      return DataLoss("a dim is 0, or the product of its dims does not fit in 63 bits");
    tensor->shape.push_back(static_cast<int64_t>(dim));
  }
  return OkStatus();
}

Status HeaderParser::ReadPlace(GgufTensor* tensor) {
  ASSIGN_OR_RETURN(const uint32_t number, cursor_.Number<uint32_t>());
  const std::optional<GgmlType> type = GgmlTypeFromNumber(number);
  if (!type.has_value()) {
    if (NameOfGgmlNumber(number).empty()) return DataLoss("its type {} is not known", number);
    return Unimplemented(
        "its type is {}; those that are read are {}. \"llama-quantize "
        "--allow-requantize FILE NEW Q8_0\" makes a file of one of these",
        NameOfGgmlNumber(number), NamesOfGgmlTypes());
  }
  tensor->type = *type;
  const GgmlTypeRow& row = RowOf(*type);
  const int64_t row_values = tensor->shape.empty() ? 1 : tensor->shape[0];
  if (row_values % row.block_values != 0)
    return DataLoss("its rows of {} values are not whole {} blocks of {}", row_values, row.name,
                    row.block_values);
  if (__builtin_mul_overflow(tensor->count / row.block_values, row.block_bytes, &tensor->bytes))
    return DataLoss("its size in bytes does not fit in 63 bits");
  std::reverse(tensor->shape.begin(), tensor->shape.end());
  ASSIGN_OR_RETURN(const uint64_t offset, cursor_.Number<uint64_t>());
  if (offset > static_cast<uint64_t>(file_bytes_))
    return DataLoss("its offset {} is beyond the file's {} bytes", offset, file_bytes_);
  tensor->begin = static_cast<int64_t>(offset);
  return OkStatus();
}

Status HeaderParser::ReadTensor() {
  GgufTensor tensor;
  ASSIGN_OR_RETURN(tensor.name, cursor_.Text(kNameBytesMax));
  if (tensor.name.empty() || FindInvalidUtf8(tensor.name) != std::string_view::npos)
    return DataLoss("a tensor's name before byte {} is empty or not UTF-8", cursor_.place());
  if (!names_.insert(tensor.name).second) return DataLoss("tensor {:?} occurs twice", tensor.name);
  Status read = ReadShape(&tensor);
  if (read.ok()) read = ReadPlace(&tensor);
  if (!read.ok()) return Annotate(read, fmt::format("tensor {:?}", tensor.name));
  header_.tensors.push_back(std::move(tensor));
  return OkStatus();
}

// Both are at most 2^63 - 1 less the alignment: offsets inside the file, or sums checked below.
int64_t Padded(int64_t bytes, int64_t alignment) {
  return (bytes + alignment - 1) / alignment * alignment;
}

Status HeaderParser::CheckRanges(int64_t data_begin) {
  std::stable_sort(header_.tensors.begin(), header_.tensors.end(),
                   [](const GgufTensor& a, const GgufTensor& b) { return a.begin < b.begin; });
  int64_t reached = data_begin;  // padded
  for (GgufTensor& tensor : header_.tensors) {
    tensor.begin += data_begin;
    if (tensor.begin != reached)
      return DataLoss("tensor {:?} begins at byte {}, but the one before ends, padded, at {}",
                      tensor.name, tensor.begin, reached);
    if (tensor.bytes > file_bytes_ - tensor.begin)
      return DataLoss("tensor {:?} has {} bytes from byte {}, but the file ends at {}", tensor.name,
                      tensor.bytes, tensor.begin, file_bytes_);
    reached = Padded(tensor.begin + tensor.bytes, header_.alignment);
  }
  // The last padding may be missing.
  if (file_bytes_ > reached)
    return DataLoss("the tensors end, padded, at byte {}, but the file at {}", reached,
                    file_bytes_);
  return OkStatus();
}

StatusOr<GgufHeader> HeaderParser::Parse() {
  ASSIGN_OR_RETURN(const uint32_t magic, cursor_.Number<uint32_t>());
  if (std::memcmp(&magic, "GGUF", 4) != 0) return DataLoss("it does not begin with \"GGUF\"");
  ASSIGN_OR_RETURN(header_.version, cursor_.Number<uint32_t>());
  if (header_.version == 0x02000000 || header_.version == 0x03000000)
    return Unimplemented("it is big-endian; only little-endian files are read");
  if (header_.version != 2 && header_.version != 3)
    return Unimplemented("its version is {}; versions 2 and 3 are read", header_.version);
  ASSIGN_OR_RETURN(const uint64_t tensors, cursor_.Number<uint64_t>());
  ASSIGN_OR_RETURN(const uint64_t keys, cursor_.Number<uint64_t>());
  RETURN_IF_ERROR(CheckCount(keys, "keys", kKeyEntryBytesMin));
  RETURN_IF_ERROR(CheckCount(tensors, "tensors", kTensorEntryBytesMin));
  for (uint64_t i = 0; i < keys; ++i) RETURN_IF_ERROR(ReadKey());
  RETURN_IF_ERROR(ReadAlignment());
  for (uint64_t i = 0; i < tensors; ++i) RETURN_IF_ERROR(ReadTensor());
  RETURN_IF_ERROR(CheckRanges(Padded(cursor_.place(), header_.alignment)));
  return std::move(header_);
}

}  // namespace

StatusOr<GgufHeader> ParseGgufHeader(const ReadBytesAt& read_at, int64_t file_bytes) {
  return HeaderParser(read_at, file_bytes).Parse();
}

}  // namespace trainyard::worker
