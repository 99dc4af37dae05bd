#include "worker/checkpoint/gguf_writer.h"

#include <algorithm>
#include <set>

#include "common/require.h"
#include "worker/checkpoint/ggml_blocks.h"

namespace trainyard::worker {
namespace {

constexpr int64_t kAlignment = 32;  // what a reader takes when no key says otherwise
constexpr size_t kNameBytesMax = 63;

template <class T>
void Put(T number, std::string* out) {
  out->append(reinterpret_cast<const char*>(&number), sizeof(number));
}
void PutText(std::string_view text, std::string* out) {
  Put(uint64_t{text.size()}, out);
  out->append(text);
}

void PutInteger(GgufValueType type, uint64_t bits, std::string* out) {
  switch (type) {
    case GgufValueType::kUint8:
    case GgufValueType::kInt8:
    case GgufValueType::kBool:
      return Put(static_cast<uint8_t>(bits), out);
    case GgufValueType::kUint16:
    case GgufValueType::kInt16:
      return Put(static_cast<uint16_t>(bits), out);
    case GgufValueType::kUint32:
    case GgufValueType::kInt32:
      return Put(static_cast<uint32_t>(bits), out);
    default:
      return Put(bits, out);
  }
}
void PutReal(GgufValueType type, double number, std::string* out) {
  type == GgufValueType::kFloat32 ? Put(static_cast<float>(number), out) : Put(number, out);
}

void PutItem(GgufValueType type, uint64_t number, std::string* out) {
  PutInteger(type, number, out);
}
void PutItem(GgufValueType type, int64_t number, std::string* out) {
  PutInteger(type, static_cast<uint64_t>(number), out);
}
void PutItem(GgufValueType type, double number, std::string* out) { PutReal(type, number, out); }
void PutItem(GgufValueType, bool flag, std::string* out) { Put(uint8_t{flag}, out); }
void PutItem(GgufValueType, const std::string& text, std::string* out) { PutText(text, out); }
void PutItem(GgufValueType, const GgufList& list, std::string* out) {
  Put(static_cast<uint32_t>(list.element), out);
  std::visit(
      [&](const auto& items) {
        Put(uint64_t{items.size()}, out);
        for (const auto& item : items) PutItem(list.element, item, out);
      },
      list.items);
}

int64_t CountOf(const GgufTensorSpec& tensor) {
  int64_t count = 1;
  for (const int64_t dim : tensor.shape) count *= dim;
  return count;
}
int64_t BytesOf(const GgufTensorSpec& tensor) {
  const GgmlTypeRow& row = RowOf(tensor.type);
  return CountOf(tensor) / row.block_values * row.block_bytes;
}

Status CheckTensor(const GgufTensorSpec& tensor) {
  const GgmlTypeRow& row = RowOf(tensor.type);
  if (tensor.name.empty() || tensor.name.size() > kNameBytesMax)
    return InvalidArgument("tensor {:?}: a name has 1 to {} bytes", tensor.name, kNameBytesMax);
  int64_t count = 1;
  bool fits = tensor.shape.size() <= 4;
  for (const int64_t dim : tensor.shape)
    fits = fits && dim > 0 && !__builtin_mul_overflow(count, dim, &count) &&
           count < INT64_MAX / row.block_bytes;
  if (!fits || (tensor.shape.empty() ? 1 : tensor.shape.back()) % row.block_values != 0)
    return InvalidArgument("tensor {:?}: the shape [{}] cannot be stored as {}", tensor.name,
                           fmt::join(tensor.shape, ", "), row.name);
  return OkStatus();
}

StatusOr<std::string> HeadOf(const GgufWriter::Keys& keys,
                             const std::vector<GgufTensorSpec>& tensors) {
  std::string head = "GGUF";
  Put(uint32_t{3}, &head);
  Put(uint64_t{tensors.size()}, &head);
  Put(uint64_t{keys.size()}, &head);
  std::set<std::string> seen;
  for (const auto& [key, value] : keys) {
    if (key.empty() || !seen.insert(key).second)
      return InvalidArgument("the key {:?} is empty or given twice", key);
    PutText(key, &head);
    Put(static_cast<uint32_t>(value.type), &head);
    std::visit([&, type = value.type](const auto& item) { PutItem(type, item, &head); },
               value.value);
  }
  seen.clear();
  int64_t offset = 0;
  for (const GgufTensorSpec& tensor : tensors) {
    RETURN_IF_ERROR(CheckTensor(tensor));
    if (!seen.insert(tensor.name).second)
      return InvalidArgument("tensor {:?} is given twice", tensor.name);
    PutText(tensor.name, &head);
    Put(static_cast<uint32_t>(tensor.shape.size()), &head);
    for (auto dim = tensor.shape.rbegin(); dim != tensor.shape.rend(); ++dim)
      Put(static_cast<uint64_t>(*dim), &head);
    Put(static_cast<uint32_t>(tensor.type), &head);
    Put(static_cast<uint64_t>(offset), &head);
    offset += (BytesOf(tensor) + kAlignment - 1) / kAlignment * kAlignment;
  }
  return head;
}

template <class T>
GgufValue ListOf(GgufValueType element, std::vector<T> items) {
  return {GgufValueType::kList, GgufList{element, std::move(items)}};
}

}  // namespace

GgufValue GgufUint32(uint32_t number) { return {GgufValueType::kUint32, uint64_t{number}}; }
GgufValue GgufFloat32(float number) { return {GgufValueType::kFloat32, double{number}}; }
GgufValue GgufBool(bool flag) { return {GgufValueType::kBool, flag}; }
GgufValue GgufString(std::string text) { return {GgufValueType::kString, std::move(text)}; }
GgufValue GgufStrings(std::vector<std::string> texts) {
  return ListOf(GgufValueType::kString, std::move(texts));
}
GgufValue GgufBools(const std::vector<bool>& flags) {
  return ListOf(GgufValueType::kBool, std::vector<uint64_t>(flags.begin(), flags.end()));
}
GgufValue GgufInt32s(std::vector<int64_t> numbers) {
  return ListOf(GgufValueType::kInt32, std::move(numbers));
}
GgufValue GgufFloat32s(std::vector<double> numbers) {
  return ListOf(GgufValueType::kFloat32, std::move(numbers));
}

StatusOr<GgufWriter> GgufWriter::Create(const std::filesystem::path& path, const Keys& keys,
                                        std::vector<GgufTensorSpec> tensors,
                                        PieceWritten piece_written) {
  ASSIGN_OR_RETURN(const std::string head, HeadOf(keys, tensors));
  ASSIGN_OR_RETURN(HashedFile file, HashedFile::Create(path, std::move(piece_written)));
  GgufWriter writer(std::move(file), std::move(tensors));
  RETURN_IF_ERROR(writer.file_.Write(head));
  RETURN_IF_ERROR(writer.Pad());
  return writer;
}

Status GgufWriter::Pad() {
  const int64_t bytes = (kAlignment - file_.size() % kAlignment) % kAlignment;
  return file_.Write(std::string(static_cast<size_t>(bytes), '\0'));
}

Status GgufWriter::Write(std::span<const float> values) {
  REQUIRE(tensor_ < tensors_.size());
  const GgufTensorSpec& tensor = tensors_[tensor_];
  const GgmlTypeRow& row = RowOf(tensor.type);
  const auto count = static_cast<int64_t>(values.size());
  REQUIRE(count <= CountOf(tensor) - values_done_ && count % row.block_values == 0);
  blocks_.resize(static_cast<size_t>(count / row.block_values * row.block_bytes));
  if (const Status fits = QuantiseBlocks(tensor.type, values, blocks_); !fits.ok())
    return Annotate(fits, fmt::format("tensor {:?}", tensor.name));
  RETURN_IF_ERROR(file_.Write({reinterpret_cast<const char*>(blocks_.data()), blocks_.size()}));
  values_done_ += count;
  if (values_done_ < CountOf(tensor)) return OkStatus();
  ++tensor_;
  values_done_ = 0;
  return Pad();
}

StatusOr<FileDigest> GgufWriter::Finish() {
  REQUIRE(tensor_ == tensors_.size());
  return file_.Finish();
}

}  // namespace trainyard::worker
