// Where memory of an arena goes: the lowest gap that is large enough. The engine's arena
// (worker/engine/arena.h) and the plan that foretells it use this one rule, so that the plan knows
// the gaps too. Offsets and bytes; nothing is allocated here.
#pragma once

#include <cstdint>
#include <map>

namespace trainyard::plan {

class Placer {
 public:
  static constexpr int64_t kAlign = 64;

  // An offset, a multiple of kAlign, with `bytes` > 0 of room that nobody else has.
  int64_t Take(int64_t bytes);
  // What Take returned, once.
  void Give(int64_t offset);

  int64_t end() const { return end_; }    // of what is taken
  int64_t high() const { return high_; }  // the largest end so far

 private:
  std::map<int64_t, int64_t> taken_;  // offset -> bytes
  std::map<int64_t, int64_t> gaps_;   // below end_; never two that touch
  int64_t end_ = 0, high_ = 0;
};

}  // namespace trainyard::plan
