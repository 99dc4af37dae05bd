// CheckCharsmap: the library that looks texts up checks nothing itself.
#include <cstring>
#include <vector>

#include "common/files.h"
#include "worker/text/sentencepiece_model.h"

namespace trainyard::worker {
namespace {

// SentencePiece's largest rules (nmt_nfkc_cf) take 250 KiB.
constexpr size_t kBytesMax = size_t{8} << 20;

// A unit of the double array.
struct Unit {
  uint32_t bits = 0;
  bool is_leaf() const { return bits >> 31 != 0; }
  size_t value() const { return bits & 0x7FFFFFFF; }
  // A byte, or for a leaf what is no byte.
  uint32_t label() const { return bits & (uint32_t{1} << 31 | 0xFF); }
  bool has_leaf() const { return (bits >> 8 & 1) != 0; }
  size_t offset() const { return (bits >> 10) << ((bits & (1 << 9)) >> 6); }
};

Unit UnitAt(std::string_view array, size_t i) {
  Unit unit;
  std::memcpy(&unit.bits, array.data() + 4 * i, 4);
  return unit;
}

// What every way through the array reads lies within it, and every value within the texts.
Status CheckWays(std::string_view array, std::string_view texts) {
  const size_t size = array.size() / 4;
  std::vector<bool> seen(size);
  std::vector<size_t> waiting = {0};
  seen[0] = true;
  while (!waiting.empty()) {
    const size_t at = waiting.back();
    waiting.pop_back();
    const Unit unit = UnitAt(array, at);
    const size_t next = at ^ unit.offset();
    if ((next | 0xFF) >= size)
      return InvalidArgument("precompiled_charsmap: unit {} leads to {}, but there are {}", at,
                             next | 0xFF, size);
    if (unit.has_leaf()) {
      const size_t value = UnitAt(array, next).value();
      if (value >= texts.size() || (value > 0 && (texts[value] & 0xC0) == 0x80))
        return InvalidArgument("precompiled_charsmap: unit {} has the text at {}, of {} bytes", at,
                               value, texts.size());
    }
    for (uint32_t byte = 1; byte < 256; ++byte) {
      const size_t child = next ^ byte;
      if (seen[child] || UnitAt(array, child).label() != byte) continue;
      seen[child] = true;
      waiting.push_back(child);
    }
  }
  return OkStatus();
}

}  // namespace

Status CheckCharsmap(std::string_view charsmap) {
  if (charsmap.size() > kBytesMax)
    return InvalidArgument("precompiled_charsmap: {} bytes, {} are the most", charsmap.size(),
                           kBytesMax);
  uint32_t array_bytes = 0;
  if (charsmap.size() >= 4) std::memcpy(&array_bytes, charsmap.data(), 4);
  if (array_bytes < 4 || array_bytes % 4 != 0 || array_bytes > charsmap.size() - 4)
    return InvalidArgument("precompiled_charsmap: an array of {} bytes in {}", array_bytes,
                           charsmap.size());
  const std::string_view texts = charsmap.substr(4 + array_bytes);
  if (const size_t at = FindInvalidUtf8(texts); at != std::string::npos)
    return InvalidArgument("precompiled_charsmap: not UTF-8 at byte {} of its texts", at);
  if (texts.empty() || texts.back() != '\0')
    return InvalidArgument("precompiled_charsmap: its texts do not end with NUL");
  return CheckWays(charsmap.substr(4, array_bytes), texts);
}

}  // namespace trainyard::worker
