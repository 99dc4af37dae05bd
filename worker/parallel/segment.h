// The memory that ranks of one host share. A memfd (or, between threads, plain memory): it has no
// name, so nothing is left behind however its users die.
//
// Layout: a header, a block of counters per rank, then per rank a ring of kSlots slots, each with
// an `in` area (parts of this rank's values that others sum) and an `out` area (what this rank made
// for the others). Areas hold kAreaBytes.
#pragma once

#include <sys/types.h>

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>

#include "common/files.h"
#include "common/status.h"
#include "worker/parallel/call.h"

namespace trainyard::worker {

constexpr int kMaxRanksPerHost = 64;
constexpr int kSlots = 4;
// Small enough that a few slots stay in a core's own cache, large enough to pay for one hand-over.
constexpr int64_t kAreaBytes = 128 << 10;

// A number that one rank raises and the others wait for. `waiters`: how many sleep on it.
struct alignas(64) Counter {
  std::atomic<uint32_t> value{0};
  std::atomic<uint32_t> waiters{0};
};

// Written by its rank alone.
struct RankBlock {
  Counter called;                       // calls begun
  Counter filled;                       // slots whose `in` area is ready
  Counter reduced;                      // slots whose `out` area is ready
  Counter drained;                      // slots whose peers' `out` areas have been read
  std::array<CallDescriptor, 2> calls;  // by call number modulo 2
  std::atomic<uint32_t> left{0};        // 1: this rank closed its collective in good order
};

struct SegmentHeader {
  uint64_t magic = 0;
  uint32_t ranks = 0;
  std::array<char, 32> token{};  // random; tells this segment from any other
  // 0, or why the collective ended: see AbortRecord. The first to write it wins.
  alignas(64) std::atomic<uint64_t> abort{0};
  std::array<RankBlock, kMaxRanksPerHost> rank_blocks;
};

class Segment {
 public:
  // In plain memory, for threads of one process.
  static std::shared_ptr<Segment> InMemory(int ranks);
  // In a new memfd, sealed against resizing.
  static StatusOr<std::shared_ptr<Segment>> Create(int ranks);
  // Opens what another process of this user made, through /proc/<pid>/fd/<fd>; `location` is its
  // location(). Both must see the same /proc. The random token proves that it is the right memory.
  static StatusOr<std::shared_ptr<Segment>> Open(const std::string& location, int ranks);
  ~Segment();
  Segment(const Segment&) = delete;
  Segment& operator=(const Segment&) = delete;

  // "pid fd token", for Open in another process while this one lives.
  std::string location() const;

  SegmentHeader& header() { return *header_; }
  RankBlock& rank(int rank) { return header_->rank_blocks[static_cast<size_t>(rank)]; }
  std::byte* in_area(int rank, uint32_t chunk) { return Area(rank, chunk, 0); }
  std::byte* out_area(int rank, uint32_t chunk) { return Area(rank, chunk, 1); }

 private:
  Segment(UniqueFd fd, void* base, size_t bytes, bool mapped)
      : fd_(std::move(fd)),
        header_(static_cast<SegmentHeader*>(base)),
        bytes_(bytes),
        mapped_(mapped) {}
  std::byte* Area(int rank, uint32_t chunk, int which);

  UniqueFd fd_;
  SegmentHeader* header_;
  size_t bytes_;
  bool mapped_;
};

}  // namespace trainyard::worker
