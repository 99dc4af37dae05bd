// Distinct types for the names of things, so that a job's id cannot be passed for a worker's.
#pragma once

#include <compare>
#include <cstdint>
#include <functional>
#include <ostream>
#include <string>

namespace trainyard {

template <class Tag>
struct Id {
  std::string value;
  auto operator<=>(const Id&) const = default;
  bool empty() const { return value.empty(); }
  friend std::ostream& operator<<(std::ostream& out, const Id& id) { return out << id.value; }
  template <class H>
  friend H AbslHashValue(H h, const Id& id) {
    return H::combine(std::move(h), id.value);
  }
};

using JobId = Id<struct JobTag>;        // "shakespeare-x7k2q": the name plus a short suffix
using WorkerId = Id<struct WorkerTag>;  // "worker-0", unique in a cluster, chosen by the worker

// One numbered try of a job; grows by one per try, starts at 1. 0: no attempt yet. It is the fence:
// a message with an older number is refused.
using AttemptNumber = int32_t;

// The unit of scheduling: one GPU of a worker, or one CPU share.
struct SlotId {
  WorkerId worker;
  int32_t index = 0;
  auto operator<=>(const SlotId&) const = default;
};

}  // namespace trainyard

template <class Tag>
struct std::hash<trainyard::Id<Tag>> {
  size_t operator()(const trainyard::Id<Tag>& id) const {
    return std::hash<std::string>()(id.value);
  }
};
