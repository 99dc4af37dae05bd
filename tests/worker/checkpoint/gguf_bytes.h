// Builds GGUF files byte by byte, right or wrong.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace trainyard::worker {

template <class T>
std::string Le(T number) {
  return std::string(reinterpret_cast<const char*>(&number), sizeof(number));
}
inline std::string GgufText(std::string_view text) {
  return Le(uint64_t{text.size()}) + std::string(text);
}
// `type` and the value's bytes as they stand.
inline std::string GgufKey(std::string_view key, uint32_t type, std::string_view value) {
  return GgufText(key) + Le(type) + std::string(value);
}
inline std::string GgufTextKey(std::string_view key, std::string_view value) {
  return GgufKey(key, 8, GgufText(value));
}
inline std::string GgufIntKey(std::string_view key, uint32_t value) {
  return GgufKey(key, 4, Le(value));
}
inline std::string GgufFloatKey(std::string_view key, float value) {
  return GgufKey(key, 6, Le(value));
}
inline std::string GgufTensorEntry(std::string_view name, const std::vector<uint64_t>& dims,
                                   uint32_t type, uint64_t offset) {
  std::string bytes = GgufText(name) + Le(static_cast<uint32_t>(dims.size()));
  for (const uint64_t dim : dims) bytes += Le(dim);
  return bytes + Le(type) + Le(offset);
}

struct GgufParts {
  std::string magic = "GGUF";
  uint32_t version = 3;
  std::vector<std::string> keys = {}, tensors = {};
  std::string data = {};
  size_t alignment = 32;

  std::string Head() const {
    std::string bytes =
        magic + Le(version) + Le(uint64_t{tensors.size()}) + Le(uint64_t{keys.size()});
    for (const auto* entries : {&keys, &tensors})
      for (const std::string& entry : *entries) bytes += entry;
    return bytes;
  }
  std::string Bytes() const {
    std::string bytes = Head();
    bytes.append((alignment - bytes.size() % alignment) % alignment, '\0');
    return bytes + data;
  }
};

}  // namespace trainyard::worker
