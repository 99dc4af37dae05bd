#include "coordinator/service/work_pool.h"

#include <limits>
#include <utility>

#include "common/require.h"

namespace trainyard::coordinator {

WorkPool::WorkPool(const std::string& name, int threads, size_t queue_max) : queue_max_(queue_max) {
  for (int i = 0; i < threads; ++i)
    threads_.emplace_back(fmt::format("{}-{}", name, i), [this] { Run(); });
}

WorkPool::~WorkPool() {
  {
    absl::MutexLock lock(&mu_);
    stop_ = true;
  }
  threads_.clear();
}

Status WorkPool::Submit(std::function<void()> work) {
  absl::MutexLock lock(&mu_);
  if (queue_.size() >= queue_max_)
    return WithReason(
        ResourceExhausted("{} requests wait for the disk already: try again in a moment",
                          queue_.size()),
        "OVERLOADED");
  queue_.push_back(std::move(work));
  return OkStatus();
}

void WorkPool::Run() {
  while (true) {
    std::function<void()> work;
    {
      absl::MutexLock lock(&mu_);
      mu_.Await(absl::Condition(this, &WorkPool::HasWork));
      if (queue_.empty()) return;  // stopped and drained
      work = std::move(queue_.front());
      queue_.pop_front();
    }
    work();
  }
}

Stepper::Stepper(const std::string& name, int threads)
    : pool_(name, threads, std::numeric_limits<size_t>::max()) {}

void Stepper::Wake(std::shared_ptr<Stepping> stepping) {
  {
    absl::MutexLock lock(&stepping->step_mu_);
    switch (stepping->step_state_) {
      case Stepping::State::kIdle:
        stepping->step_state_ = Stepping::State::kQueued;
        break;
      case Stepping::State::kStepping:
        stepping->step_state_ = Stepping::State::kSteppingAndWoken;
        return;
      case Stepping::State::kQueued:
      case Stepping::State::kSteppingAndWoken:
        return;
    }
  }
  Enqueue(std::move(stepping));
}

void Stepper::Enqueue(std::shared_ptr<Stepping> stepping) {
  const Status queued =
      pool_.Submit([this, stepping = std::move(stepping)] { StepOnce(stepping); });
  REQUIRE(queued.ok());
}

void Stepper::StepOnce(const std::shared_ptr<Stepping>& stepping) {
  {
    absl::MutexLock lock(&stepping->step_mu_);
    stepping->step_state_ = Stepping::State::kStepping;
  }
  stepping->Step();
  {
    absl::MutexLock lock(&stepping->step_mu_);
    if (stepping->step_state_ == Stepping::State::kStepping) {
      stepping->step_state_ = Stepping::State::kIdle;
      return;
    }
    stepping->step_state_ = Stepping::State::kQueued;
  }
  Enqueue(stepping);  // behind the others: a busy stream does not starve them
}

}  // namespace trainyard::coordinator
