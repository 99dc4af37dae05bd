#include "tests/coordinator/yard.h"

#include <fmt/format.h>

#include "tests/support/status_matchers.h"

namespace trainyard::coordinator {

JobSpec SpecOf(const std::string& name, int64_t ranks) {
  JobSpec spec;
  spec.name = name;
  spec.kind = "pretrain";
  spec.model.preset = "llama-nano";
  spec.tokenizer.train = TokenizerTraining{};
  DataSource source;
  source.path = "data/*.txt";
  source.format = "text";
  source.files = {{"a.txt", std::string(64, 'a'), 100}};
  spec.data.train = {source};
  spec.train.max_steps = 400;
  spec.train.global_batch_size = 12;  // shared by 1, 2 or 3 ranks
  spec.resources.ranks = ranks;
  spec.checkpoint.save_total_limit = 2;
  return spec;
}

Yard::Yard(CoordinatorOptions options) : options_(std::move(options)) {
  store_ = *Store::Open(":memory:");
  coordinator_ = *Coordinator::Open(options_, clock_, *store_);
}

Yard& Yard::AddWorker(const std::string& name, int slots) {
  HostedWorker& worker = workers_[name];
  worker.hello.worker = WorkerId{name};
  worker.hello.epoch = name + "-1";
  worker.hello.host_id = "host";
  worker.hello.version = "0.1";
  for (int i = 0; i < slots; ++i) worker.hello.slots.push_back({i, "cpu", ""});
  Report(name);
  return *this;
}

JobId Yard::Submit(const std::string& name, int64_t ranks) { return Submit(SpecOf(name, ranks)); }

JobId Yard::Submit(JobSpec spec) {
  const auto answer =
      coordinator_->Create("client:ada", std::move(spec), {}, fmt::format("r{}", ++requests_), "x");
  EXPECT_OK(answer);
  return answer.ok() ? answer->value->id : JobId();
}

RankReport& Yard::rank(const JobId& id, int32_t rank) {
  const Attempt& attempt = job(id).attempts.back();
  const std::string worker = attempt.ranks.at(static_cast<size_t>(rank)).slot.worker.value;
  return workers_.at(worker).processes.at({id, attempt.number, rank});
}

bool Yard::has_process(const JobId& id, AttemptNumber attempt, int32_t rank) const {
  for (const auto& [name, worker] : workers_) {
    if (worker.processes.contains({id, attempt, rank})) return true;
  }
  return false;
}

void Yard::RestartWorker(const std::string& name, bool with_processes) {
  HostedWorker& worker = workers_.at(name);
  worker.hello.epoch += "+";
  worker.hello.report_number = 0;
  if (!with_processes) worker.processes.clear();
}

void Yard::RestartCoordinator() {
  EXPECT_OK(store_->Commit());
  coordinator_ = *Coordinator::Open(options_, clock_, *store_);
}

void Yard::Reconcile(HostedWorker& worker, const DesiredState& desired) {
  std::map<Key, RankReport> kept;
  for (const DesiredRank& wanted : desired.ranks) {
    const Key key{wanted.job, wanted.attempt, wanted.placement.rank};
    const auto found = worker.processes.find(key);
    RankReport process;
    if (found != worker.processes.end()) {
      process = found->second;
    } else {
      process.job = wanted.job;
      process.attempt = wanted.attempt;
      process.rank = wanted.placement.rank;
      process.live.process = "running";
      process.live.phase = "waiting";
      process.live.waiting_for_coordinator = true;
      process.live.listen_address = fmt::format("127.0.0.1:{}", 9000 + process.rank);
    }
    if (wanted.stop == Stop::kNow && !process.outcome) {
      process.outcome = Outcome{.kind = "stopped", .reason = "", .message = ""};
      process.live.process = "exited";
    }
    if (process.checkpoint && process.checkpoint->step <= wanted.recorded_step) {
      process.checkpoint.reset();
    }
    kept.emplace(key, std::move(process));
  }
  worker.processes = std::move(kept);
}

void Yard::Report(const std::string& name) {
  HostedWorker& worker = workers_.at(name);
  if (worker.silent) return;
  WorkerReport report = worker.hello;
  report.report_number = ++worker.hello.report_number;
  for (const auto& [key, process] : worker.processes) report.ranks.push_back(process);
  const auto answer = coordinator_->Report(report);
  ASSERT_OK(answer);
  if (answer->value.refused.empty()) Reconcile(worker, answer->value);
}

void Yard::Run(absl::Duration time) {
  for (absl::Duration t; t < time; t += absl::Seconds(1)) {
    for (const auto& [name, worker] : workers_) Report(name);
    coordinator_->Tick();
    clock_.Advance(absl::Seconds(1));
    for (auto& [name, worker] : workers_) {
      for (auto& [key, process] : worker.processes) process.live.beat_age += absl::Seconds(1);
    }
  }
}

void Yard::Train(const JobId& id, int64_t step) {
  Run(absl::Seconds(2));
  RankReport& first = rank(id, 0);
  if (!job(id).prepare_done) {
    first.prepare_done = true;
    first.prepared = {{"train-0.tok", "prepared/ab", "ab", 10}};
  }
  for (const RankPlacement& placement : job(id).attempts.back().ranks) {
    RankLive& live = rank(id, placement.rank).live;
    live.phase = "training";
    live.waiting_for_coordinator = false;
    live.step = live.beat = live.collective_sequence = step;
    live.beat_age = absl::ZeroDuration();
    live.step_seconds_p99 = 0.1;
  }
  Run(absl::Seconds(1));
}

void Yard::Write(const JobId& id, int64_t step) {
  RankReport& first = rank(id, 0);
  first.checkpoint =
      WrittenCheckpoint{step, CheckpointKey(id, step, job(id).attempts.back().number), "digest", 9};
  Run(absl::Seconds(1));
}

void Yard::Finish(const JobId& id) {
  Write(id, job(id).spec->train.max_steps);
  for (const RankPlacement& placement : job(id).attempts.back().ranks) {
    RankReport& process = rank(id, placement.rank);
    process.live.process = "exited";
    process.outcome = Outcome{.kind = "succeeded", .reason = "", .message = ""};
  }
  Run(absl::Seconds(1));
}

void Yard::Fail(const JobId& id, int32_t number, const std::string& reason, int32_t signal) {
  RankReport& process = rank(id, number);
  process.live.process = "exited";
  process.outcome = Outcome{.kind = "failed", .reason = reason, .message = "", .signal = signal};
}

const Job& Yard::job(const JobId& id) {
  const auto view = coordinator_->Get(id.value);
  EXPECT_OK(view);
  last_ = view->value.job;
  return *last_;
}

std::vector<std::string> Yard::EventTypes(const JobId& id) {
  EXPECT_OK(store_->Commit());
  std::vector<std::string> types;
  const auto events = store_->Events(id, 0, 10'000);
  EXPECT_OK(events);
  for (const Event& event : *events) types.push_back(event.type);
  return types;
}

std::string Yard::Explain(const JobId& id) {
  EXPECT_OK(store_->Commit());
  const auto explanation = coordinator_->Explain(id.value);
  EXPECT_OK(explanation);
  std::string text = explanation->sentence + "\n";
  for (const std::string& line : explanation->evidence) text += line + "\n";
  return text;
}

}  // namespace trainyard::coordinator
