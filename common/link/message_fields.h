// The fields of the messages that are also kept in files (archive.h reads and writes them).
#pragma once

#include <array>

#include "common/link/archive.h"
#include "common/link/messages.h"

namespace trainyard::link {

inline std::span<const EnumName<Channel>> Names(Channel) {
  static constexpr std::array<EnumName<Channel>, kChannels> kNames = {{
      {"link", Channel::kLink},
      {"control", Channel::kControl},
      {"telemetry", Channel::kTelemetry},
      {"rollouts", Channel::kRollouts},
  }};
  return kNames;
}

inline std::span<const EnumName<StopMode>> Names(StopMode) {
  static constexpr std::array<EnumName<StopMode>, 3> kNames = {{
      {"none", StopMode::kNone},
      {"checkpoint", StopMode::kCheckpoint},
      {"now", StopMode::kNow},
  }};
  return kNames;
}

inline std::span<const EnumName<Phase>> Names(Phase) {
  static constexpr std::array<EnumName<Phase>, 8> kNames = {{
      {"starting", Phase::kStarting},
      {"preparing", Phase::kPreparing},
      {"waiting", Phase::kWaiting},
      {"loading", Phase::kLoading},
      {"training", Phase::kTraining},
      {"evaluating", Phase::kEvaluating},
      {"saving", Phase::kSaving},
      {"finishing", Phase::kFinishing},
  }};
  return kNames;
}

inline std::span<const EnumName<OutcomeKind>> Names(OutcomeKind) {
  static constexpr std::array<EnumName<OutcomeKind>, 3> kNames = {{
      {"succeeded", OutcomeKind::kSucceeded},
      {"failed", OutcomeKind::kFailed},
      {"stopped", OutcomeKind::kStopped},
  }};
  return kNames;
}

template <class A>
void Fields(A& a, Choice& m) {
  a("field", m.field);
  a("value", m.value);
  a("why", m.why);
}

template <class A>
void Fields(A& a, PreparedFile& m) {
  a("name", m.name);
  a("key", m.key);
  a("sha256", m.sha256);
  a("size_bytes", m.size_bytes);
}

template <class A>
void Fields(A& a, WrittenCheckpoint& m) {
  a("step", m.step);
  a("key", m.key);
  a("manifest_digest", m.manifest_digest);
  a("size_bytes", m.size_bytes);
}

template <class A>
void Fields(A& a, CheckpointFailure& m) {
  a("step", m.step);
  a("message", m.message);
}

template <class A>
void Fields(A& a, Outcome& m) {
  a("kind", m.kind);
  a("code", m.code);
  a("reason", m.reason);
  a("message", m.message);
}

template <class A>
void Fields(A& a, RankStatus& m) {
  a("job", m.job);
  a("attempt", m.attempt);
  a("rank", m.rank);
  a("phase", m.phase);
  a("doing", m.doing);
  a("step", m.step);
  a("beat", m.beat);
  a("waiting_for_coordinator", m.waiting_for_coordinator);
  a("collective_sequence", m.collective_sequence);
  a("listen_address", m.listen_address);
  a("prepared", m.prepared);
  a("choices", m.choices);
  a("checkpoint", m.checkpoint);
  a("checkpoint_failure", m.checkpoint_failure);
  a("outcome", m.outcome);
  a("step_seconds_p99", m.step_seconds_p99);
}

}  // namespace trainyard::link
