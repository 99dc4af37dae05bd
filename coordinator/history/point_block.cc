#include "coordinator/history/point_block.h"

#include <cstring>
#include <map>

#include "common/crc32c.h"
#include "common/require.h"

namespace trainyard::coordinator {
namespace {

constexpr uint32_t kMagic = 0x31505954;  // "TYP1"

template <class T>
void Put(std::string* out, T value) {
  char bytes[sizeof(T)];
  std::memcpy(bytes, &value, sizeof(T));
  out->append(bytes, sizeof(T));
}

// Takes values off the front of bytes that nobody has checked.
class Taker {
 public:
  explicit Taker(std::string_view bytes) : bytes_(bytes) {}
  std::string_view Bytes(size_t n) {
    if (n > bytes_.size()) {
      short_ = true;
      return {};
    }
    const std::string_view taken = bytes_.substr(0, n);
    bytes_.remove_prefix(n);
    return taken;
  }
  template <class T>
  T Value() {
    T value{};
    if (const std::string_view raw = Bytes(sizeof(T)); !raw.empty())
      std::memcpy(&value, raw.data(), sizeof(T));
    return value;
  }
  template <class T>
  std::vector<T> Column(size_t n) {
    std::vector<T> column;
    const std::string_view raw = Bytes(n * sizeof(T));
    if (raw.empty()) return column;
    column.resize(n);
    std::memcpy(column.data(), raw.data(), raw.size());
    return column;
  }
  bool Finished() const { return !short_ && bytes_.empty(); }
  bool ran_short() const { return short_; }

 private:
  std::string_view bytes_;
  bool short_ = false;
};

bool DecodePayload(std::string_view payload, std::vector<Point>* points) {
  Taker taker(payload);
  const auto attempt = taker.Value<int32_t>();
  const auto rank = taker.Value<int32_t>();
  const auto n_names = taker.Value<uint32_t>();
  const auto n_points = taker.Value<uint32_t>();
  if (n_names > n_points || n_points > kMaxBlockPoints) return false;
  std::vector<std::string_view> names;
  for (uint32_t i = 0; i < n_names && !taker.ran_short(); ++i)
    names.push_back(taker.Bytes(taker.Value<uint16_t>()));
  const auto steps = taker.Column<int64_t>(n_points);
  const auto name_of = taker.Column<uint16_t>(n_points);
  const auto values = taker.Column<double>(n_points);
  const auto times = taker.Column<double>(n_points);
  if (!taker.Finished()) return false;
  for (const uint16_t name : name_of)
    if (name >= names.size()) return false;
  for (uint32_t i = 0; i < n_points; ++i)
    points->push_back(
        {attempt, rank, steps[i], std::string(names[name_of[i]]), values[i], times[i]});
  return true;
}

}  // namespace

std::string EncodeBlock(const std::vector<Point>& points) {
  REQUIRE(!points.empty() && points.size() <= kMaxBlockPoints);
  std::map<std::string_view, uint16_t> index_of;
  std::string names;
  for (const Point& point : points) {
    REQUIRE(point.name.size() <= kMaxPointName && point.attempt == points[0].attempt &&
            point.rank == points[0].rank);
    if (!index_of.emplace(point.name, static_cast<uint16_t>(index_of.size())).second) continue;
    Put(&names, static_cast<uint16_t>(point.name.size()));
    names += point.name;
  }
  std::string payload;
  Put(&payload, points[0].attempt);
  Put(&payload, points[0].rank);
  Put(&payload, static_cast<uint32_t>(index_of.size()));
  Put(&payload, static_cast<uint32_t>(points.size()));
  payload += names;
  for (const Point& point : points) Put(&payload, point.step);
  for (const Point& point : points) Put(&payload, index_of[point.name]);
  for (const Point& point : points) Put(&payload, point.value);
  for (const Point& point : points) Put(&payload, point.wall_time);
  std::string block;
  Put(&block, kMagic);
  Put(&block, static_cast<uint32_t>(payload.size()));
  Put(&block, Crc32c(payload));
  return block + payload;
}

BlockState DecodeBlock(std::string_view bytes, size_t* size, std::vector<Point>* points) {
  *size = 0;
  Taker header(bytes.substr(0, kBlockHeaderBytes));
  const auto magic = header.Value<uint32_t>();
  const auto payload_bytes = header.Value<uint32_t>();
  const auto crc = header.Value<uint32_t>();
  if (!header.Finished() || magic != kMagic || payload_bytes > kMaxBlockPayload ||
      bytes.size() - kBlockHeaderBytes < payload_bytes)
    return BlockState::kTorn;
  *size = kBlockHeaderBytes + payload_bytes;
  const std::string_view payload = bytes.substr(kBlockHeaderBytes, payload_bytes);
  if (Crc32c(payload) != crc || !DecodePayload(payload, points)) return BlockState::kDamaged;
  return BlockState::kGood;
}

}  // namespace trainyard::coordinator
