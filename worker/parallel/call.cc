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

std::string OwnCall::Name() const { return fmt::format("call {} ({})", number, Describe(what)); }

Status OwnCall::Ended(const AbortRecord& record) const {
  switch (record.kind) {
    case kGone:
      return Aborted("{}: the connection to rank {} ended: its process is gone or out of reach",
                     Name(), record.culprit);
    case kTold:
      return Aborted("{}: rank {} was told to stop", Name(), record.reporter);
    case kLate:
      return DeadlineExceeded("{}: rank {} waited in vain for rank {} in its call {}", Name(),
                              record.reporter, record.culprit, record.call);
    case kGarbled:
      return Aborted("{}: rank {} had bytes from rank {} that are no message of ours", Name(),
                     record.reporter, record.culprit);
    case kGaveUp:
      break;
  }
  return Aborted("{}: rank {} gave up its call {} because of rank {}", Name(), record.reporter,
                 record.call, record.culprit);
}

Status OwnCall::PeerLeft(int peer, int64_t peer_calls) const {
  return Aborted("{}: rank {} closed its side after {} calls", Name(), peer, peer_calls);
}

Status OwnCall::PeerIsLate(int peer, int64_t peer_calls) const {
  return DeadlineExceeded("{}: rank {} {} within {}; it has begun {} calls", Name(), peer,
                          peer_calls >= number ? "did not finish" : "did not arrive",
                          absl::FormatDuration(timeout), peer_calls);
}

Status OwnCall::Disagreement(int rank, int peer, const CallDescriptor& theirs) const {
  return InvalidArgument(
      "call {}: this rank ({}) makes a {}, but rank {} makes a {}: ranks must make the same calls "
      "in the same order",
      number, rank, Describe(what), peer, Describe(theirs));
}

}  // namespace trainyard::worker
