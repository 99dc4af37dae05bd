#include "worker/loop/checkpoint_writer.h"

#include <spdlog/spdlog.h>

#include <utility>

#include "worker/loop/checkpoints.h"
#include "worker/loop/outcome.h"

namespace trainyard::worker {
namespace {

// Beside two threads that compute, this leaves the writer a tenth of a core, and all of one while
// the loop waits. The lowest priority of all could starve behind another job's ranks.
constexpr int kNiceness = 10;

// How long the coordinator may take to record one before the next is written all the same.
constexpr absl::Duration kRecordingMax = absl::Seconds(2);
constexpr absl::Duration kLookEvery = absl::Milliseconds(10);

}  // namespace

void CheckpointWriter::Prepare(std::vector<ParameterView> parameters) {
  const int64_t every = context_.spec.checkpoint.save_steps;
  if (context_.rank != 0 || every == 0 || every >= context_.spec.train.max_steps) return;
  thread_ = Thread("checkpoint", [this, parameters = std::move(parameters)] {
    LowerOwnPriority(kNiceness);
    snapshot_.Reserve(parameters).IgnoreError();  // whoever copies finds out
  });
}

Status CheckpointWriter::WriteBeside(CheckpointContents contents) {
  const int64_t step = contents.state.step;
  const absl::Duration begin = context_.clock->Elapsed();
  Wait(step);
  thread_.Join();  // it has nothing left to do, or is about to have the memory
  if (context_.link->stop() == link::StopMode::kNow)
    return StopRequested("a checkpoint was written");
  const absl::Duration waited = context_.clock->Elapsed() - begin;
  const Status copied = snapshot_.Take(contents.parameters,
                                       static_cast<int>(context_.spec.resources.threads_per_rank));
  if (!copied.ok()) {
    spdlog::warn("step={} written at once: {}", step, MessageOf(copied));
    return WriteNow(contents);
  }
  contents.parameters = snapshot_.parameters();
  TellStop(step, begin);
  spdlog::info("step={} copied seconds={:.3f} waited={:.3f}", step,
               absl::ToDoubleSeconds(context_.clock->Elapsed() - begin - waited),
               absl::ToDoubleSeconds(waited));
  {
    absl::MutexLock lock(&mu_);
    writing_ = true;
  }
  thread_ = Thread("checkpoint", [this, contents = std::move(contents)] {
    LowerOwnPriority(kNiceness);
    Save(contents).IgnoreError();  // it is told
    absl::MutexLock lock(&mu_);
    writing_ = false;
  });
  return OkStatus();
}

Status CheckpointWriter::WriteNow(const CheckpointContents& contents) {
  const int64_t step = contents.state.step;
  const absl::Duration begin = context_.clock->Elapsed();
  Wait(step);
  waiting_step_ = step;
  context_.link->SetPhase(link::Phase::kSaving);
  const Status saved = Save(contents);
  waiting_step_ = -1;
  RETURN_IF_ERROR(saved);
  TellStop(step, begin);
  return OkStatus();
}

void CheckpointWriter::Wait(int64_t step) {
  const auto idle = [this] { return !writing_; };
  {
    absl::MutexLock lock(&mu_);
    if (!writing_) return;
    waiting_step_ = step;
    context_.link->SetPhase(link::Phase::kSaving);
    mu_.Await(absl::Condition(&idle));
    waiting_step_ = -1;
  }
}

int64_t CheckpointWriter::newest_step() const {
  absl::MutexLock lock(&mu_);
  return newest_step_;
}

void CheckpointWriter::AwaitRecorded() {
  const int64_t step = newest_step();
  const absl::Duration until = context_.clock->Elapsed() + kRecordingMax;
  while (context_.link->directive().recorded_step < step && context_.clock->Elapsed() < until) {
    Beat();
    if (!context_.link->Pause(kLookEvery)) return;
  }
}

Status CheckpointWriter::Save(const CheckpointContents& contents) {
  AwaitRecorded();
  RETURN_IF_ERROR(SaveCheckpoint(context_, contents, [this] { Beat(); }));
  absl::MutexLock lock(&mu_);
  newest_step_ = contents.state.step;
  return OkStatus();
}

void CheckpointWriter::Beat() {
  const int64_t step = waiting_step_;
  if (step >= 0) context_.link->Beat(step, context_.abort->sequence());
}

void CheckpointWriter::TellStop(int64_t step, absl::Duration begin) {
  const double seconds = absl::ToDoubleSeconds(context_.clock->Elapsed() - begin);
  context_.link->Metrics(step, {{"step_phase_seconds/checkpoint", seconds}});
}

}  // namespace trainyard::worker
