// Where the time of a step goes. A step enters one phase after the other; the time between two
// entries belongs to the earlier one.
#pragma once

#include <array>
#include <cstddef>
#include <optional>
#include <string_view>

#include "common/clock.h"

namespace trainyard::worker {

// The time that a checkpoint stops the steps is said by its writer, as
// "step_phase_seconds/checkpoint" (checkpoint_writer.h).
enum class StepPhase { kData, kForwardBackward, kReduce, kUpdate };
inline constexpr size_t kStepPhases = 4;
// As in the metric "step_phase_seconds/<name>".
inline constexpr std::array<std::string_view, kStepPhases> kStepPhaseNames = {
    "data", "forward_backward", "reduce", "update"};

class StepClock {
 public:
  explicit StepClock(const Clock* clock) : clock_(clock) {}

  void Enter(StepPhase phase) {
    Leave();
    phase_ = phase;
  }
  void Leave() {
    const absl::Duration now = clock_->Elapsed();
    if (phase_.has_value()) spent_[static_cast<size_t>(*phase_)] += now - entered_;
    phase_.reset();
    entered_ = now;
  }
  // Books time that was measured within one phase under another.
  void Move(StepPhase from, StepPhase to, absl::Duration time) {
    spent_[static_cast<size_t>(from)] -= time;
    spent_[static_cast<size_t>(to)] += time;
  }
  // Per phase, since the last Take.
  std::array<absl::Duration, kStepPhases> Take() {
    Leave();
    return std::exchange(spent_, {});
  }

 private:
  const Clock* const clock_;
  std::optional<StepPhase> phase_;
  absl::Duration entered_ = absl::ZeroDuration();
  std::array<absl::Duration, kStepPhases> spent_ = {};
};

}  // namespace trainyard::worker
