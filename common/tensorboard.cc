#include "common/tensorboard.h"

#include <fmt/format.h>

#include <cstring>
#include <utility>

#include "common/crc32c.h"

namespace trainyard {
namespace {

template <class T>
void AppendRaw(std::string* out, T value) {
  char bytes[sizeof(T)];
  std::memcpy(bytes, &value, sizeof(T));
  out->append(bytes, sizeof(T));
}

void AppendVarint(std::string* out, uint64_t value) {
  for (; value >= 0x80; value >>= 7) out->push_back(static_cast<char>(value | 0x80));
  out->push_back(static_cast<char>(value));
}

// Field numbers and wire types: protobuf.dev/programming-guides/encoding.
enum WireType { kVarint = 0, kFixed64 = 1, kBytes = 2, kFixed32 = 5 };

void AppendKey(std::string* out, uint32_t field, WireType type) {
  AppendVarint(out, field << 3 | static_cast<uint32_t>(type));
}

void AppendBytes(std::string* out, uint32_t field, std::string_view bytes) {
  AppendKey(out, field, kBytes);
  AppendVarint(out, bytes.size());
  out->append(bytes);
}

uint32_t MaskedCrc(std::string_view bytes) {
  const uint32_t crc = Crc32c(bytes);
  return ((crc >> 15) | (crc << 17)) + 0xa282ead8u;
}

}  // namespace

TensorBoardEvents::TensorBoardEvents(double wall_time) {
  std::string event;
  AppendKey(&event, 1, kFixed64);
  AppendRaw(&event, wall_time);
  AppendBytes(&event, 3, "brain.Event:2");
  AddRecord(event);
}

void TensorBoardEvents::Add(std::string_view tag, int64_t step, double value, double wall_time) {
  std::string scalar;
  AppendBytes(&scalar, 1, tag);
  AppendKey(&scalar, 2, kFixed32);
  AppendRaw(&scalar, static_cast<float>(value));
  std::string summary;
  AppendBytes(&summary, 1, scalar);
  std::string event;
  AppendKey(&event, 1, kFixed64);
  AppendRaw(&event, wall_time);
  AppendKey(&event, 2, kVarint);
  AppendVarint(&event, static_cast<uint64_t>(step));
  AppendBytes(&event, 5, summary);
  AddRecord(event);
}

std::string TensorBoardEvents::Take() { return std::exchange(bytes_, {}); }

void TensorBoardEvents::AddRecord(std::string_view data) {
  std::string length;
  AppendRaw(&length, static_cast<uint64_t>(data.size()));
  bytes_ += length;
  AppendRaw(&bytes_, MaskedCrc(length));
  bytes_ += data;
  AppendRaw(&bytes_, MaskedCrc(data));
}

std::string TensorBoardFileName(double wall_time, std::string_view source) {
  return fmt::format("events.out.tfevents.{}.{}", static_cast<int64_t>(wall_time), source);
}

}  // namespace trainyard
