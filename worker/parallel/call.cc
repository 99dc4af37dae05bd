#include "worker/parallel/call.h"

#include <fmt/format.h>

#include <iterator>

namespace trainyard::worker {

std::string Describe(const CallDescriptor& call) {
  static constexpr const char* kOperations[] = {"nothing",    "all-reduce", "reduce-scatter",
                                                "all-gather", "broadcast",  "barrier"};
  static constexpr const char* kElements[] = {"", "bytes", "float32", "float64"};
  const char* operation = call.operation < std::size(kOperations) ? kOperations[call.operation]
                                                                  : "an unknown operation";
  if (call.element == kNoElement || call.element >= std::size(kElements)) return operation;
  std::string text = fmt::format("{} of {} {}", operation, call.count, kElements[call.element]);
  if (call.operation == kBroadcast) text += fmt::format(" from rank {}", call.root);
  return text;
}

uint64_t AbortRecord::Pack() const {
  return static_cast<uint64_t>(kind) | static_cast<uint64_t>(reporter) << 8 |
         static_cast<uint64_t>(culprit) << 16 |
         static_cast<uint64_t>(static_cast<uint32_t>(call)) << 32;
}

AbortRecord AbortRecord::Unpack(uint64_t word) {
  return {static_cast<AbortKind>(word & 0xFF), static_cast<int>(word >> 8 & 0xFF),
          static_cast<int>(word >> 16 & 0xFF), static_cast<int64_t>(word >> 32)};
}

}  // namespace trainyard::worker
