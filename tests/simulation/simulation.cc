#include "tests/simulation/simulation.h"

#include <fmt/format.h>
#include <sqlite3.h>

#include <algorithm>
#include <set>
#include <utility>

#include "common/require.h"
#include "tests/coordinator/yard.h"

namespace trainyard::simulation {

using coordinator::Coordinator;
using coordinator::DesiredState;
using coordinator::Store;
using coordinator::WorkerReport;

Simulation::Simulation(const SimulationOptions& options)
    : options_(options), world_(options.seed), trainers_(world_) {
  database_ = fmt::format("file:simulation-{}-{}?mode=memory&cache=shared", options.seed,
                          reinterpret_cast<uintptr_t>(this));
  REQUIRE(sqlite3_open_v2(database_.c_str(), &keeper_,
                          SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE | SQLITE_OPEN_URI,
                          nullptr) == SQLITE_OK);
  Chance& chance = world_.chance();
  for (int i = 0; i < options.workers; ++i) {
    workers_.push_back(std::make_unique<WorkerState>());
    workers_.back()->name = fmt::format("worker-{}", i);
  }
  const int64_t n_clients = chance.Between(3, 6);
  for (int64_t i = 0; i < n_clients; ++i) {
    auto client = std::make_unique<Client>();
    client->request = fmt::format("request-{}", i);
    client->spec = coordinator::SpecOf(fmt::format("job{}", i), chance.Between(1, options.workers));
    client->spec.resources.priority = chance.Between(0, 2);
    client->spec.checkpoint.save_steps = chance.Between(2, 8) * 10;
    clients_.push_back(std::move(client));
  }
}

Simulation::~Simulation() {
  coordinator_.reset();
  store_.reset();
  sqlite3_close(keeper_);
}

SimulationResult Simulation::Run() {
  StartCoordinator();
  TickCoordinator();
  for (auto& worker : workers_) {
    StartWorker(*worker);
    TurnLoop(*worker);
  }
  for (auto& client : clients_) {
    world_.After(world_.chance().Between(absl::ZeroDuration(), options_.faults_end / 2),
                 [this, c = client.get()] { SubmitLoop(*c); });
  }
  FaultLoop();
  const absl::Duration end = options_.faults_end + options_.patience;
  while (broken_.ok() && !IsDone() && world_.now() < end && world_.Step()) {
    if (coordinator_ != nullptr) Check(checker_.CheckSlots(*coordinator_));
  }
  if (broken_.ok() && coordinator_ == nullptr) StartCoordinator();
  if (broken_.ok() && !IsDone()) ExplainUnfinished();
  if (broken_.ok()) Check(checker_.CheckEnd(*store_));
  SimulationResult result{.status = broken_, .happened = world_.happened(), .faults = faults_};
  result.events = checker_.events();
  result.attempts = checker_.attempts();
  result.jobs = static_cast<int64_t>(clients_.size());
  result.succeeded = checker_.succeeded();
  result.last_checkpoints = checker_.last_checkpoints();
  result.digest = world_.digest();
  return result;
}

// What the coordinator itself says about those jobs, into the notes.
void Simulation::ExplainUnfinished() {
  for (const auto& client : clients_) {
    const auto explanation = coordinator_->Explain(client->job.value);
    if (!explanation.ok()) continue;
    world_.Note(explanation->sentence);
    for (const std::string& line : explanation->evidence) world_.Note("    " + line);
  }
}

bool Simulation::IsDone() const {
  return FaultsAreOver() && checker_.acknowledged().size() == clients_.size() &&
         checker_.AllFinal();
}

void Simulation::Check(const Status& status) {
  if (status.ok() || !broken_.ok()) return;
  broken_ = Annotate(status, fmt::format("seed {} at {} s, after {} steps", options_.seed,
                                         absl::ToDoubleSeconds(world_.now()), world_.happened()));
  broken_ = Status(broken_.code(), MessageOf(broken_) + "\n" + world_.LastNotes());
}

// -------------------------------------------------------------------------- coordinator and disk

void Simulation::StartCoordinator() {
  if (coordinator_ != nullptr) return;
  ++coordinator_life_;
  world_.Note(fmt::format("coordinator starts, life {}", coordinator_life_));
  auto store = Store::Open(database_);
  Check(store.status());
  if (!store.ok()) return;
  store_ = *std::move(store);
  coordinator::CoordinatorOptions options;
  options.epoch = fmt::format("epoch-{}", coordinator_life_);
  options.attempt_key = "simulation";
  options.check_fence = options_.check_fence;
  auto opened = Coordinator::Open(options, world_.clock(), *store_);
  Check(opened.status());
  if (opened.ok()) coordinator_ = *std::move(opened);
}

void Simulation::CrashCoordinator() {
  if (coordinator_ == nullptr) return;
  world_.Note(fmt::format("coordinator crashes with {} events not durable",
                          store_->appended_sequence() - store_->durable_sequence()));
  ++coordinator_life_;
  coordinator_.reset();
  store_.reset();
  commit_scheduled_ = false;
}

void Simulation::ScheduleCommit() {
  if (commit_scheduled_ || store_ == nullptr) return;
  if (store_->durable_sequence() == store_->appended_sequence()) return;
  commit_scheduled_ = true;
  const bool slow = world_.now() < slow_disk_until_;
  const absl::Duration lag =
      world_.chance().Between(absl::Milliseconds(1), absl::Milliseconds(slow ? 3'000 : 30));
  world_.After(lag, [this, life = coordinator_life_] {
    if (life != coordinator_life_) return;
    commit_scheduled_ = false;
    // Events first, so that whoever hears of them can check that they are there.
    Check(store_->Commit());
    Check(checker_.ReadEvents(*store_));
    ScheduleCommit();
  });
}

void Simulation::WhenDurable(int64_t sequence, std::function<void()> answer) {
  store_->WhenDurable(
      sequence, [this, life = coordinator_life_, answer = std::move(answer)](const Status& status) {
        if (!status.ok()) return;  // it died first
        // Leaves after the commit's event is over, so that the checker has read the events.
        world_.After(absl::ZeroDuration(), [this, life, answer] {
          if (life == coordinator_life_) answer();
        });
      });
  ScheduleCommit();
}

void Simulation::TickCoordinator() {
  if (coordinator_ != nullptr) {
    coordinator_->Tick();
    ScheduleCommit();
  }
  world_.After(absl::Milliseconds(500), [this] { TickCoordinator(); });
}

// --------------------------------------------------------------------------------------- network

// To or from a worker, or a client when it is null. Lost with a probability, repeated at once or
// much later, late in any case.
void Simulation::Send(WorkerState* worker, std::string what, std::function<void()> deliver) {
  Chance& chance = world_.chance();
  const bool bad = world_.now() < bad_network_until_;
  const bool calm = FaultsAreOver();
  if (worker != nullptr && world_.now() < worker->cut_off_until) return;
  if (!calm && chance.Happens(bad ? 0.4 : 0.03)) return;
  const auto arrive = [this, worker, what = std::move(what), deliver = std::move(deliver)] {
    if (worker != nullptr && world_.now() < worker->cut_off_until) return;
    world_.Note(what);
    deliver();
  };
  world_.After(chance.Between(absl::Milliseconds(1), absl::Milliseconds(bad ? 2'000 : 50)), arrive);
  if (!calm && chance.Happens(0.03)) {
    world_.After(chance.Between(absl::ZeroDuration(), absl::Seconds(60)), arrive);
  }
}

// --------------------------------------------------------------------------------------- workers

void Simulation::StartWorker(WorkerState& worker) {
  worker.up = true;
  ++worker.life;
  worker.started = world_.now();
  worker.newest_answer = 0;
  world_.Note(fmt::format("{} starts, life {}", worker.name, worker.life));
  ReportLoop(worker, worker.life);
}

void Simulation::ReportLoop(WorkerState& worker, int64_t life) {
  if (!worker.up || worker.life != life) return;
  WorkerReport report;
  report.worker = WorkerId{worker.name};
  report.epoch = fmt::format("{}-{}", worker.name, life);
  report.host_id = worker.name;
  report.version = "0.1";
  report.slots = {{0, "cpu", ""}};
  report.report_number = ++worker.reports;
  for (const RankKey& key : trainers_.On(worker.name)) {
    report.ranks.push_back(ReportOf(worker, key));
  }
  Send(&worker,
       fmt::format("{} reports {} with {} ranks", worker.name, report.report_number,
                   report.ranks.size()),
       [this, w = &worker, life, report = std::move(report)] { Deliver(*w, life, report); });
  world_.After(world_.chance().Between(absl::Milliseconds(900), absl::Milliseconds(1'100)),
               [this, w = &worker, life] { ReportLoop(*w, life); });
}

// A new daemon knows of a rank that it adopted only that there is a process, until that speaks.
coordinator::RankReport Simulation::ReportOf(const WorkerState& worker, const RankKey& key) {
  Trainer& trainer = *trainers_.Find(key);
  if (!trainer.alive() || !trainer.stopped) trainer.heard_by = worker.life;
  coordinator::RankReport report = trainer.says;
  report.live.beat_age = world_.now() - trainer.beat_at;
  if (trainer.heard_by == worker.life) return report;
  report = {};
  report.job = key.job;
  report.attempt = key.attempt;
  report.rank = key.rank;
  report.live.process = "spawning";
  report.live.beat_age = world_.now() - worker.started;
  return report;
}

void Simulation::Deliver(WorkerState& worker, int64_t life, const WorkerReport& report) {
  if (coordinator_ == nullptr) return;
  const auto answer = coordinator_->Report(report);
  Check(answer.status());
  if (!answer.ok()) return;
  WhenDurable(answer->durable_after, [this, w = &worker, life, desired = answer->value] {
    Send(w, fmt::format("{} hears answer {}", w->name, desired.report_number),
         [this, w, life, desired] {
           if (!w->up || w->life != life) return;
           // The daemon says so and ends; whoever supervises it starts it again.
           if (!desired.refused.empty()) return CrashWorker(*w, /*with_host=*/false);
           if (desired.report_number <= w->newest_answer) return;
           w->newest_answer = desired.report_number;
           Reconcile(*w, desired);
         });
  });
}

// What the agent does: level-triggered, every rank started at most once.
void Simulation::Reconcile(WorkerState& worker, const DesiredState& desired) {
  std::set<RankKey> wanted;
  for (const auto& rank : desired.ranks) {
    const RankKey key{rank.job, rank.attempt, rank.placement.rank};
    wanted.insert(key);
    if (trainers_.Find(key) == nullptr) trainers_.Start(worker.name, rank);
    Trainer& trainer = *trainers_.Find(key);
    trainers_.Tell(key, rank);
    // A stopped process does not hear; the agent kills it after a grace.
    if (trainer.alive() && rank.stop == coordinator::Stop::kNow) trainers_.Stop(key);
  }
  for (const RankKey& key : trainers_.On(worker.name)) {
    if (wanted.contains(key)) continue;
    if (trainers_.Find(key)->alive()) trainers_.Kill(key);
    trainers_.Forget(key);
  }
}

void Simulation::TurnLoop(WorkerState& worker) {
  trainers_.Turn(worker.name);
  world_.After(absl::Seconds(1), [this, w = &worker] { TurnLoop(*w); });
}

void Simulation::CrashWorker(WorkerState& worker, bool with_host) {
  if (!worker.up) return;
  world_.Note(fmt::format("{} crashes{}", worker.name, with_host ? " with its host" : ""));
  worker.up = false;
  if (with_host) {
    for (const RankKey& key : trainers_.On(worker.name)) trainers_.Forget(key);
  }
  const absl::Duration away = world_.chance().Between(absl::Milliseconds(500), absl::Seconds(30));
  world_.After(away, [this, w = &worker] { StartWorker(*w); });
}

// --------------------------------------------------------------------------------------- clients

// Asks until it is answered, always with the same request id.
void Simulation::SubmitLoop(Client& client) {
  if (!client.job.empty()) return;
  Send(nullptr, "submit " + client.request, [this, c = &client] {
    if (coordinator_ == nullptr) return;
    const std::string suffix = fmt::format("{:x}", world_.chance().Bits() % 0xfffff);
    const auto answer = coordinator_->Create("client:ada", c->spec, {}, c->request, suffix);
    Check(answer.status());
    if (!answer.ok()) return;
    WhenDurable(answer->durable_after, [this, c, job = answer->value->id] {
      Send(nullptr, c->request + " is " + job.value, [this, c, job] {
        Check(checker_.Acknowledged(c->request, job));
        c->job = job;
      });
    });
  });
  world_.After(absl::Seconds(3), [this, c = &client] { SubmitLoop(*c); });
}

void Simulation::AskCancel(Client& client, bool now) {
  Send(nullptr, "cancel " + client.job.value, [this, now, c = &client] {
    if (coordinator_ == nullptr || c->job.empty()) return;
    const auto answer = coordinator_->Cancel("client:ada", c->job.value, now, "");
    if (!answer.ok()) return;  // it has ended
    WhenDurable(answer->durable_after, [this, c] { Check(checker_.CancelAcknowledged(c->job)); });
  });
}

void Simulation::AskRetry(Client& client) {
  Send(nullptr, "retry " + client.job.value, [this, c = &client] {
    if (coordinator_ == nullptr || c->job.empty()) return;
    const auto answer = coordinator_->Retry("client:ada", c->job.value, "");
    if (answer.ok()) ScheduleCommit();
  });
}

// ---------------------------------------------------------------------------------------- faults

void Simulation::FaultLoop() {
  if (FaultsAreOver()) return;
  OneFault();
  world_.After(world_.chance().Between(absl::Seconds(1), absl::Seconds(7)),
               [this] { FaultLoop(); });
}

void Simulation::OneFault() {
  Chance& chance = world_.chance();
  WorkerState& worker = *workers_[static_cast<size_t>(chance.Between(0, options_.workers - 1))];
  Client& client =
      *clients_[static_cast<size_t>(chance.Between(0, static_cast<int64_t>(clients_.size()) - 1))];
  const std::vector<RankKey> alive = trainers_.Alive();
  Trainer* victim = nullptr;
  RankKey victim_key;
  if (!alive.empty()) {
    victim_key =
        alive[static_cast<size_t>(chance.Between(0, static_cast<int64_t>(alive.size()) - 1))];
    victim = trainers_.Find(victim_key);
  }
  const double which = chance.Uniform();
  const auto count = [this](const std::string& name) {
    ++faults_[name];
    world_.Note("fault: " + name);
  };
  if (which < 0.12) {
    count("coordinator crash");
    CrashCoordinator();
    world_.After(chance.Between(absl::Milliseconds(200), absl::Seconds(25)),
                 [this] { StartCoordinator(); });
  } else if (which < 0.24) {
    count("daemon crash");
    CrashWorker(worker, false);
  } else if (which < 0.32) {
    count("host crash");
    CrashWorker(worker, true);
  } else if (which < 0.44) {
    count("partition");
    worker.cut_off_until = world_.now() + chance.Between(absl::Seconds(3), absl::Seconds(60));
  } else if (which < 0.56 && victim != nullptr) {
    count("trainer killed");
    trainers_.Kill(victim_key);
  } else if (which < 0.66 && victim != nullptr) {
    count("trainer stopped");
    victim->stopped = true;
  } else if (which < 0.68 && victim != nullptr) {
    count("bad input");
    victim->failing = true;
  } else if (which < 0.78) {
    count("bad network");
    bad_network_until_ = world_.now() + chance.Between(absl::Seconds(2), absl::Seconds(15));
  } else if (which < 0.86) {
    count("slow disk");
    slow_disk_until_ = world_.now() + chance.Between(absl::Seconds(2), absl::Seconds(15));
  } else if (which < 0.90 && !client.job.empty()) {
    const bool now = chance.Happens(0.3);
    count(now ? "cancel now" : "cancel");
    AskCancel(client, now);
  } else if (!client.job.empty()) {
    count("retry");
    AskRetry(client);
  }
}

}  // namespace trainyard::simulation
