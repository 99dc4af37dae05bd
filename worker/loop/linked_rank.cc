#include "worker/loop/linked_rank.h"

#include <spdlog/spdlog.h>

#include <algorithm>

#include "worker/loop/outcome.h"

namespace trainyard::worker {
namespace {

using link::Directive;
using link::StopMode;

// Beats closer together than this travel as one.
constexpr absl::Duration kBeatsApart = absl::Milliseconds(50);
// A process that says nothing for several of these is stopped, or its host is.
constexpr absl::Duration kPulse = absl::Seconds(1);
// How long a wait may take to notice that the agent is gone.
constexpr absl::Duration kSlice = absl::Milliseconds(250);
// Steps from which the 99th percentile is taken, and how many there must be.
constexpr size_t kStepsKept = 200;
constexpr size_t kStepsEnough = 5;

double Percentile99(std::vector<double> values) {
  const size_t at = values.size() * 99 / 100;
  std::nth_element(values.begin(), values.begin() + static_cast<int64_t>(at), values.end());
  return values[at];
}

}  // namespace

LinkedRank::LinkedRank(link::LinkServer* server, const Clock* clock, absl::Duration agent_timeout)
    : server_(server), clock_(clock), agent_timeout_(agent_timeout) {
  absl::MutexLock lock(&mu_);
  SayLocked();
}

void LinkedRank::SayLocked() {
  said_ = clock_->Elapsed();
  unsaid_ = false;
  if (step_seconds_.size() >= kStepsEnough) {
    status_.step_seconds_p99 = Percentile99({step_seconds_.begin(), step_seconds_.end()});
  }
  const int64_t recorded = directive().recorded_step;
  if (status_.checkpoint.has_value() && status_.checkpoint->step <= recorded) {
    status_.checkpoint.reset();
  }
  server_->SetStatus(status_);
}

template <class Change>
void LinkedRank::Say(const Change& change) {
  absl::MutexLock lock(&mu_);
  change(status_);
  SayLocked();
}

Directive LinkedRank::directive() const { return server_->LatestDirective().value_or(Directive{}); }

StopMode LinkedRank::stop() const { return directive().stop; }

bool LinkedRank::agent_gone() const { return server_->SinceAgent() >= agent_timeout_; }

StatusOr<Directive> LinkedRank::WaitUntil(std::string_view what,
                                          const std::function<bool(const Directive&)>& ready) {
  Say([](link::RankStatus& status) { status.waiting_for_coordinator = true; });
  StatusOr<Directive> heard = DeadlineExceeded("nothing heard");
  while (!heard.ok() && !agent_gone()) {
    heard = server_->WaitForDirective(
        [&](const Directive& d) { return d.stop == StopMode::kNow || ready(d); }, kSlice);
  }
  Say([](link::RankStatus& status) { status.waiting_for_coordinator = false; });
  if (!heard.ok()) {
    return WithReason(Unavailable("no agent has dialled for {} while waiting until {}",
                                  absl::FormatDuration(server_->SinceAgent()), what),
                      kAgentLost);
  }
  if (heard->stop == StopMode::kNow) return StopRequested(what);
  return heard;
}

bool LinkedRank::Pause(absl::Duration pause) {
  const absl::Duration end = clock_->Elapsed() + pause;
  while (clock_->Elapsed() < end) {
    if (agent_gone()) return false;
    const absl::Duration slice = std::min(kSlice, end - clock_->Elapsed());
    const auto told = server_->WaitForDirective(
        [](const Directive& d) { return d.stop == StopMode::kNow; }, slice);
    if (told.ok()) return false;
  }
  return true;
}

void LinkedRank::SetPhase(link::Phase phase) {
  Say([&](link::RankStatus& status) {
    status.phase = phase;
    status.doing.clear();
  });
}

void LinkedRank::Beat(int64_t step, int64_t collective_sequence) {
  absl::MutexLock lock(&mu_);
  status_.step = step;
  status_.collective_sequence = collective_sequence;
  BeatLocked();
}

void LinkedRank::Doing(const std::string& what) {
  absl::MutexLock lock(&mu_);
  status_.doing = what;
  BeatLocked();
}

void LinkedRank::BeatLocked() {
  ++status_.beat;
  unsaid_ = true;
  if (clock_->Elapsed() - said_ >= kBeatsApart) SayLocked();
}

void LinkedRank::Pulse(int64_t collective_sequence) {
  absl::MutexLock lock(&mu_);
  if (collective_sequence > status_.collective_sequence) {
    status_.collective_sequence = collective_sequence;
    unsaid_ = true;
  }
  if (unsaid_ || clock_->Elapsed() - said_ >= kPulse) SayLocked();
}

void LinkedRank::StepTook(absl::Duration time) {
  absl::MutexLock lock(&mu_);
  step_seconds_.push_back(absl::ToDoubleSeconds(time));
  if (step_seconds_.size() > kStepsKept) step_seconds_.pop_front();
}

void LinkedRank::ReportListenAddress(const std::string& address) {
  Say([&](link::RankStatus& status) { status.listen_address = address; });
}

void LinkedRank::ReportPrepared(const std::vector<link::PreparedFile>& files,
                                const std::vector<Choice>& choices) {
  Say([&](link::RankStatus& status) {
    status.prepared = files;
    status.choices = choices;
  });
}

void LinkedRank::ReportCheckpoint(const link::WrittenCheckpoint& checkpoint) {
  Say([&](link::RankStatus& status) {
    status.checkpoint = checkpoint;
    status.checkpoint_failure.reset();
  });
}

void LinkedRank::ReportCheckpointFailure(const link::CheckpointFailure& failure) {
  Say([&](link::RankStatus& status) { status.checkpoint_failure = failure; });
}

void LinkedRank::Metrics(int64_t step, const std::vector<std::pair<std::string, double>>& values) {
  const double wall_time = absl::ToDoubleSeconds(clock_->Now() - absl::UnixEpoch());
  link::MetricPoints points;
  for (const auto& [name, value] : values) {
    points.points.push_back({.step = step, .name = name, .value = value, .wall_time = wall_time});
  }
  server_->Publish(points);
}

void LinkedRank::Event(std::string_view type, const std::string& message) {
  server_->Publish({.wall_time = absl::ToDoubleSeconds(clock_->Now() - absl::UnixEpoch()),
                    .type = std::string(type),
                    .message = message});
}

link::RankStatus LinkedRank::End(const link::Outcome& outcome) {
  absl::MutexLock lock(&mu_);
  status_.phase = link::Phase::kFinishing;
  status_.doing.clear();
  status_.outcome = outcome;
  SayLocked();
  return status_;
}

}  // namespace trainyard::worker
