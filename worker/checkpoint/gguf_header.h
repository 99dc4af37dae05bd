// The head of a GGUF file, versions 2 and 3, little-endian
// (https://github.com/ggml-org/ggml/blob/master/docs/gguf.md): counts, metadata, where each tensor
// lies. Nothing in it is trusted; every rule that it breaks is DataLoss, naming key or tensor:
//   * it ends inside the file and has at most 256 MiB; what a count announces must fit into what
//     is left, before any memory is taken for it;
//   * at most 65,536 keys and tensors, 2^22 elements in all lists together, lists 4 deep;
//   * keys and names are UTF-8 of at most 65,535 and 255 bytes and occur once; types are known; a
//     text that stands by itself is UTF-8 (the tokens of a list need not be); a bool is 0 or 1;
//   * general.alignment is a power of two from 8 to 2^20;
//   * a tensor has at most 4 dims, none of them 0, whose product is checked; its rows are whole
//     blocks; its data begins where the one before it ends, padded to the alignment, and the last
//     one's padding, if any, is the end of the file.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <span>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "common/status.h"
#include "worker/checkpoint/ggml_types.h"

namespace trainyard::worker {

enum class GgufValueType : uint32_t {
  kUint8 = 0,
  kInt8 = 1,
  kUint16 = 2,
  kInt16 = 3,
  kUint32 = 4,
  kInt32 = 5,
  kFloat32 = 6,
  kBool = 7,
  kString = 8,
  kList = 9,
  kUint64 = 10,
  kInt64 = 11,
  kFloat64 = 12,
};

struct GgufList {
  GgufValueType element = GgufValueType::kUint8;
  // Unsigned integers and bools, signed integers, floats, strings, lists.
  std::variant<std::vector<uint64_t>, std::vector<int64_t>, std::vector<double>,
               std::vector<std::string>, std::vector<GgufList>>
      items;
};

struct GgufValue {
  GgufValueType type = GgufValueType::kUint8;
  // Unsigned integers, signed integers, floats, bools, strings, lists.
  std::variant<uint64_t, int64_t, double, bool, std::string, GgufList> value;
};

// Keys and values. Each getter is NotFound when the key is absent and InvalidArgument when the
// value is of another kind or does not fit, naming the key.
class GgufMetadata {
 public:
  const GgufValue* Find(std::string_view key) const;
  bool Has(std::string_view key) const { return Find(key) != nullptr; }
  StatusOr<int64_t> Integer(std::string_view key) const;  // of any width
  StatusOr<double> Real(std::string_view key) const;
  StatusOr<bool> Bool(std::string_view key) const;
  StatusOr<std::string> Text(std::string_view key) const;
  StatusOr<std::vector<std::string>> Texts(std::string_view key) const;
  StatusOr<std::vector<int64_t>> Integers(std::string_view key) const;
  StatusOr<std::vector<double>> Reals(std::string_view key) const;

  std::map<std::string, GgufValue, std::less<>> values;
};

struct GgufTensor {
  std::string name;
  GgmlType type = GgmlType::kF32;
  std::vector<int64_t> shape;  // outermost first, as everywhere here; files have it the other way
  int64_t count = 0;           // values
  int64_t begin = 0;           // byte offset in the file
  int64_t bytes = 0;
};

struct GgufHeader {
  uint32_t version = 3;
  int64_t alignment = 32;
  GgufMetadata metadata;
  std::vector<GgufTensor> tensors;  // in the order of their bytes
};

// Fills the bytes from that offset on; called only for ranges inside the file.
using ReadBytesAt = std::function<Status(int64_t offset, std::span<std::byte> bytes)>;

StatusOr<GgufHeader> ParseGgufHeader(const ReadBytesAt& read_at, int64_t file_bytes);

}  // namespace trainyard::worker
