// Virtual time and chance: everything that happens in a simulation is an event of this queue, drawn
// from one seed, so that a seed is a run that can be repeated.
#pragma once

#include <absl/time/time.h>

#include <cstdint>
#include <deque>
#include <functional>
#include <queue>
#include <string>
#include <utility>
#include <vector>

#include "common/clock.h"

namespace trainyard::simulation {

// SplitMix64 (Steele, Lea, Flood 2014): one stream for the whole run, its order fixed by the
// events.
class Chance {
 public:
  explicit Chance(uint64_t seed) : state_(seed * 0x9e3779b97f4a7c15 + 1) {}
  uint64_t Bits() {
    uint64_t z = (state_ += 0x9e3779b97f4a7c15);
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9;
    z = (z ^ (z >> 27)) * 0x94d049bb133111eb;
    return z ^ (z >> 31);
  }
  double Uniform() { return static_cast<double>(Bits() >> 11) * 0x1.0p-53; }
  bool Happens(double probability) { return Uniform() < probability; }
  int64_t Between(int64_t low, int64_t high) {  // both inclusive
    return low + static_cast<int64_t>(Bits() % static_cast<uint64_t>(high - low + 1));
  }
  absl::Duration Between(absl::Duration low, absl::Duration high) {
    return low + (high - low) * Uniform();
  }

 private:
  uint64_t state_;
};

class World {
 public:
  explicit World(uint64_t seed) : chance_(seed) {}

  void After(absl::Duration delay, std::function<void()> what) {
    events_.push({clock_.Elapsed() + delay, ++scheduled_, std::move(what)});
  }
  // Runs the next event; false when there is none.
  bool Step() {
    if (events_.empty()) return false;
    Event event = std::move(const_cast<Event&>(events_.top()));
    events_.pop();
    clock_.Advance(event.at - clock_.Elapsed());
    ++happened_;
    event.what();
    return true;
  }

  absl::Duration now() const { return clock_.Elapsed(); }
  const SimulatedClock& clock() const { return clock_; }
  Chance& chance() { return chance_; }
  int64_t happened() const { return happened_; }

  // The last 50 are printed when an invariant breaks; the digest covers all.
  void Note(std::string line);
  std::string LastNotes() const;
  uint64_t digest() const { return digest_; }

 private:
  struct Event {
    absl::Duration at;
    int64_t order;  // of scheduling, among events of the same moment
    std::function<void()> what;
    bool operator<(const Event& other) const {
      return std::pair(other.at, other.order) < std::pair(at, order);
    }
  };

  SimulatedClock clock_{absl::FromUnixSeconds(1'700'000'000)};
  Chance chance_;
  std::priority_queue<Event> events_;
  int64_t scheduled_ = 0;
  int64_t happened_ = 0;
  std::deque<std::string> notes_;
  uint64_t digest_ = 0xcbf29ce484222325;
};

}  // namespace trainyard::simulation
