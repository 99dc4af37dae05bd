#include "common/link/cbor.h"

#include <vector>

namespace trainyard::link {
namespace {

// Walks the bytes without recursion; nothing is built.
class Scanner {
 public:
  Scanner(std::string_view bytes, const CborLimits& limits) : bytes_(bytes), limits_(limits) {}

  Status Scan() {
    do {
      RETURN_IF_ERROR(ScanItem());
      while (!open_.empty() && open_.back() == 0) open_.pop_back();
    } while (!open_.empty());
    if (at_ != bytes_.size()) return Wrong("bytes follow the value");
    return OkStatus();
  }

 private:
  Status Wrong(std::string_view rule) const {
    return InvalidArgument("CBOR byte {}: {}", at_, rule);
  }

  // The argument of an initial byte (RFC 8949, section 3).
  Status ReadArgument(int info, uint64_t* argument) {
    if (info < 24) {
      *argument = static_cast<uint64_t>(info);
      return OkStatus();
    }
    if (info > 27) return Wrong("indefinite lengths and reserved bits are not used");
    const size_t n = size_t{1} << (info - 24);
    if (bytes_.size() - at_ < n) return Wrong("cut short");
    *argument = 0;
    for (size_t i = 0; i < n; ++i) {
      *argument = *argument << 8 | static_cast<unsigned char>(bytes_[at_++]);
    }
    return OkStatus();
  }

  Status ScanItem() {
    if (at_ == bytes_.size()) return Wrong("cut short");
    if (++items_ > limits_.items) return Wrong("too many values");
    if (!open_.empty()) --open_.back();
    const auto initial = static_cast<unsigned char>(bytes_[at_++]);
    const int major = initial >> 5, info = initial & 31;
    if (major == 6) return Wrong("tags are not used");
    if (major == 7 && (info < 20 || info == 23 || info == 24 || info > 27)) {
      return Wrong("unknown simple value");
    }
    uint64_t argument = 0;
    RETURN_IF_ERROR(ReadArgument(info, &argument));
    if (major == 2 || major == 3) {
      if (argument > bytes_.size() - at_) return Wrong("a string is longer than what follows");
      at_ += argument;
    }
    if (major == 4 || major == 5) return OpenContainer(major == 5, argument);
    return OkStatus();
  }

  Status OpenContainer(bool map, uint64_t n) {
    if (map && n > static_cast<uint64_t>(limits_.map_entries)) return Wrong("a map is too large");
    // Each value takes a byte at least.
    if (n > bytes_.size() - at_) return Wrong("a container is longer than what follows");
    if (open_.size() >= static_cast<size_t>(limits_.depth)) return Wrong("nested too deeply");
    open_.push_back(map ? 2 * n : n);
    return OkStatus();
  }

  const std::string_view bytes_;
  const CborLimits& limits_;
  size_t at_ = 0;
  int64_t items_ = 0;
  std::vector<uint64_t> open_;  // values still to come, per open container
};

}  // namespace

StatusOr<nlohmann::ordered_json> ParseCbor(std::string_view bytes, const CborLimits& limits) {
  RETURN_IF_ERROR(Scanner(bytes, limits).Scan());
  auto value = nlohmann::ordered_json::from_cbor(bytes.begin(), bytes.end(), /*strict=*/true,
                                                 /*allow_exceptions=*/false);
  if (value.is_discarded()) return InvalidArgument("CBOR that is well formed but not readable");
  return value;
}

std::string ToCbor(const nlohmann::ordered_json& value) {
  std::string bytes;
  nlohmann::ordered_json::to_cbor(value, nlohmann::detail::output_adapter<char>(bytes));
  return bytes;
}

}  // namespace trainyard::link
