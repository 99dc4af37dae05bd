// What ranks tell each other about their calls, and about why they ended.
#pragma once

#include <absl/time/time.h>

#include <cstdint>
#include <string>

#include "common/status.h"

namespace trainyard::worker {

enum Operation : uint32_t { kAllReduce = 1, kReduceScatter, kAllGather, kBroadcast, kBarrier };
enum Element : uint32_t { kNoElement, kByte, kFloat32, kFloat64 };

// What a rank says its current call is; all ranks must say the same.
struct CallDescriptor {
  uint32_t operation = 0;
  uint32_t element = 0;
  int64_t count = 0;
  int32_t root = 0;
  bool operator==(const CallDescriptor&) const = default;
};

// "all-reduce of 10 float32", "broadcast of 3 bytes from rank 1", "barrier".
std::string Describe(const CallDescriptor& call);

enum AbortKind : uint64_t {
  kTold = 1,     // Abort() of the reporter was called
  kGone = 2,     // the culprit's process ended
  kLate = 3,     // the culprit missed the reporter's deadline
  kGaveUp = 4,   // the reporter failed for another reason
  kGarbled = 5,  // the culprit sent the reporter bytes that are no message of ours
};

// Why a collective ended. Packed, it is never 0.
struct AbortRecord {
  AbortKind kind = kTold;
  int reporter = 0;
  int culprit = 0;
  int64_t call = 0;  // the reporter's, modulo 2^32

  uint64_t Pack() const;
  static AbortRecord Unpack(uint64_t word);
};

// A call as its rank sees it, and the errors that it can end with.
struct OwnCall {
  int64_t number = 0;
  CallDescriptor what;
  absl::Duration timeout = {};

  std::string Name() const;  // "call 3 (barrier)"
  Status Ended(const AbortRecord& record) const;
  // `peer_calls`: how many it has begun.
  Status PeerLeft(int peer, int64_t peer_calls) const;
  Status PeerIsLate(int peer, int64_t peer_calls) const;
  Status Disagreement(int rank, int peer, const CallDescriptor& theirs) const;
};

}  // namespace trainyard::worker
