#include "worker/agent/agent.h"

#include <poll.h>
#include <spdlog/spdlog.h>
#include <sys/eventfd.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>

#include "common/machine.h"
#include "common/version.h"

namespace trainyard::worker {
namespace {

// How long a draining agent waits for its ranks' last words to be safe.
constexpr absl::Duration kLastWords = absl::Seconds(5);
constexpr absl::Duration kLastWordsOfKilled = absl::Seconds(1);

std::string HostName() {
  char name[256] = {};
  return ::gethostname(name, sizeof name - 1) == 0 ? name : "unknown";
}

// Equal for workers whose ranks can share memory: the same kernel and the same /dev/shm.
std::string HostId() {
  struct stat info = {};
  ::stat("/dev/shm", &info);
  return Sha256(fmt::format("{} {}", BootId(), info.st_dev)).substr(0, 16);
}

v1::WorkerReport HelloOf(const AgentOptions& options) {
  v1::WorkerReport hello;
  hello.set_worker_id(options.worker_id);
  hello.set_worker_epoch(RandomHex(8));
  hello.set_host(HostName());
  hello.set_host_id(HostId());
  hello.set_version(kVersion);
  hello.set_http_address(options.http_address);
  hello.set_memory_bytes(TotalMemoryBytes());
  for (const LocalSlot& local : options.ranks.slots) {
    v1::Slot& slot = *hello.add_slots();
    slot.set_index(local.index);
    slot.set_device(local.device);
    slot.set_description(local.description);
  }
  return hello;
}

// The report without what changes all the time: a difference in the rest is worth a report at once.
std::string EssenceOf(v1::WorkerReport report) {
  for (v1::RankReport& rank : *report.mutable_ranks()) {
    rank.clear_step();
    rank.clear_beat();
    rank.clear_beat_age_seconds();
    rank.clear_collective_sequence();
    rank.clear_step_seconds_p99();
  }
  return report.SerializeAsString();
}

}  // namespace

Agent::Agent(AgentOptions options, BlobStore&, const Clock& clock)
    : options_(std::move(options)),
      clock_(clock),
      wake_(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)),
      core_(HelloOf(options_), options_.limits),
      heard_at_(clock.Elapsed()) {}

StatusOr<std::unique_ptr<Agent>> Agent::Start(AgentOptions options,
                                              std::shared_ptr<grpc::Channel> channel,
                                              BlobStore& blobs, const Clock& clock) {
  std::unique_ptr<Agent> agent(new Agent(std::move(options), blobs, clock));
  if (!agent->wake_.valid()) return ErrnoStatus(errno, "cannot make an eventfd");
  Agent* self = agent.get();
  agent->telemetry_ = std::make_unique<Telemetry>(
      channel, self->options_.token, self->options_.worker_id, self->options_.telemetry, clock,
      [self] { self->Post([](Inbox&) {}); });
  const RankLinkEvents link_events{
      .status =
          [self](const RankKey& key, const link::RankStatus& status) {
            self->Post([&](Inbox& inbox) { inbox.statuses[key] = status; });
          },
      .telemetry =
          [self](const RankKey& key, uint64_t sequence, link::Telemetry words) {
            self->Post(
                [&](Inbox& inbox) { inbox.words.emplace_back(key, sequence, std::move(words)); });
          },
  };
  ASSIGN_OR_RETURN(agent->ranks_,
                   Ranks::Open(self->options_.ranks, *agent->telemetry_, link_events, clock));
  ASSIGN_OR_RETURN(const std::vector<RankRecord> adopted, agent->ranks_->AdoptAll());
  for (const RankRecord& record : adopted) agent->core_.Adopt(record, clock.Elapsed());
  agent->session_ = std::make_unique<Session>(
      channel, self->options_.token, blobs, clock,
      Session::Events{.desired =
                          [self](const v1::DesiredState& desired, const std::string& blob_probe) {
                            self->Post([&](Inbox& inbox) {
                              inbox.desired = desired;
                              inbox.blob_probe = blob_probe;
                            });
                          },
                      .lost =
                          [self](const Status& status) {
                            self->Post([&](Inbox& inbox) { inbox.lost = status; });
                          }});
  agent->thread_ = Thread("agent", [self] { self->Run(); });
  return agent;
}

Agent::~Agent() {
  {
    absl::MutexLock lock(&mu_);
    stop_ = true;
  }
  Post([](Inbox&) {});
  thread_.Join();
  // Their threads post into the inbox: they end before it does.
  session_.reset();
  ranks_.reset();
  telemetry_.reset();
}

void Agent::Post(const std::function<void(Inbox&)>& put) {
  {
    absl::MutexLock lock(&mu_);
    put(inbox_);
  }
  const uint64_t one = 1;
  [[maybe_unused]] const ssize_t n = ::write(wake_.get(), &one, sizeof one);
}

void Agent::Drain() {
  Post([](Inbox& inbox) { inbox.drain = true; });
}

void Agent::KillAll() {
  Post([](Inbox& inbox) { inbox.kill_all = true; });
}

std::optional<Agent::End> Agent::WaitFor(absl::Duration timeout) const {
  absl::MutexLock lock(&mu_);
  const auto ended = [this] { return end_.has_value(); };
  mu_.AwaitWithTimeout(absl::Condition(&ended), timeout);
  return end_;
}

AgentNumbers Agent::numbers() const {
  absl::MutexLock lock(&mu_);
  return numbers_;
}

void Agent::Run() {
  while (true) {
    {
      absl::MutexLock lock(&mu_);
      if (stop_ || end_) return;
    }
    TakeInbox();
    BuryDead();
    Act();
    ranks_->Ship(clock_.Elapsed());
    SendReport();
    NoteNumbers();
    EndIfDone();
    WaitForEvents();
  }
}

void Agent::WaitForEvents() {
  const absl::Duration now = clock_.Elapsed();
  const absl::Duration until =
      std::min(reported_at_ + options_.report_period, core_.NextDeadline());
  // Changes that came too soon after the last report are looked at again when it may be sent.
  const absl::Duration gap_over = reported_at_ + options_.report_gap;
  const absl::Duration wait = std::min(until, now < gap_over ? gap_over : until) - now;
  std::vector<pollfd> poll_fds{{wake_.get(), POLLIN, 0}};
  for (const auto& [key, fd] : ranks_->Watched()) poll_fds.push_back({fd, POLLIN, 0});
  const auto wait_ms = absl::ToInt64Milliseconds(
      std::clamp(wait + absl::Milliseconds(1), absl::ZeroDuration(), absl::Seconds(1)));
  const int n = ::poll(poll_fds.data(), poll_fds.size(), static_cast<int>(wait_ms));
  if (n < 0 && errno != EINTR) EndWith(AgentEnd::kBroken, "poll failed");
  uint64_t count;
  while (::read(wake_.get(), &count, sizeof count) > 0) {
  }
}

void Agent::TakeInbox() {
  Inbox inbox;
  {
    absl::MutexLock lock(&mu_);
    std::swap(inbox, inbox_);
  }
  const absl::Duration now = clock_.Elapsed();
  for (auto& [key, sequence, words] : inbox.words) ranks_->Say(key, sequence, std::move(words));
  for (const auto& [key, status] : inbox.statuses) core_.OnStatus(key, status, now);
  if (inbox.lost) {
    if (absl::IsUnauthenticated(*inbox.lost) || absl::IsPermissionDenied(*inbox.lost)) {
      if (!was_connected_) EndWith(AgentEnd::kDenied, MessageOf(*inbox.lost));
    }
    spdlog::warn("no session with the coordinator ({}); trying again", MessageOf(*inbox.lost));
  }
  if (inbox.desired) TakeDesired(*inbox.desired, inbox.blob_probe);
  if (inbox.drain && !draining_) {
    spdlog::info("draining: every rank writes a checkpoint and stops");
    draining_ = true;
    core_.Drain(now);
  }
  if (inbox.kill_all) killing_ = true;
}

void Agent::TakeDesired(const v1::DesiredState& desired, const std::string& blob_probe) {
  if (!desired.refused().empty()) {
    EndWith(AgentEnd::kRefused, desired.refused());
    return;
  }
  if (!std::exchange(was_connected_, true)) spdlog::info("the coordinator has answered");
  heard_at_ = clock_.Elapsed();
  core_.SetBlobProbe(blob_probe);
  core_.OnDesired(desired, heard_at_);
}

void Agent::BuryDead() {
  for (const auto& [key, fd] : ranks_->Watched()) {
    pollfd poll_fd{fd, POLLIN, 0};
    if (::poll(&poll_fd, 1, 0) <= 0) continue;
    ranks_->CloseLink(key);
    TakeInbox();  // its last words, before what it left in files
    core_.OnEnded(key, ranks_->Bury(key, core_.KilledWhy(key)), clock_.Elapsed());
    TakeInbox();  // its exit record: a report of the end must not leave without it
    ++ended_;
  }
}

void Agent::Act() {
  const absl::Duration now = clock_.Elapsed();
  ranks_->NoteOutOfMemoryKills(now);
  if (killing_)
    for (const auto& [key, fd] : ranks_->Watched()) ranks_->Kill(key, "the worker ends");
  for (const RankKey& key : core_.Unshipped())
    if (ranks_->IsShipped(key)) core_.OnShipped(key);
  for (const Action& action : core_.Decide(now)) {
    spdlog::debug("{}: {}", NameOf(action.key), action.why);
    if (action.kind == ActionKind::kStart) StartRank(action);
    if (action.kind == ActionKind::kKill) ranks_->Kill(action.key, action.why);
    if (action.kind == ActionKind::kForget) ranks_->Forget(action.key);
  }
  for (const auto& [key, fd] : ranks_->Watched())
    if (const auto directive = core_.DirectiveFor(key)) ranks_->Direct(key, *directive);
}

void Agent::StartRank(const Action& action) {
  if (killing_) return;
  const v1::DesiredRank* desired = core_.Wanted(action.key);
  if (desired == nullptr) return;
  const StatusOr<int64_t> pid = ranks_->Start(*desired);
  if (pid.ok()) {
    spdlog::info("{}: started process {}", NameOf(action.key), *pid);
    ++started_;
    core_.OnStarted(action.key, *pid, clock_.Elapsed());
  } else {
    spdlog::error("{}: cannot be started: {}", NameOf(action.key), MessageOf(pid.status()));
    core_.OnEnded(action.key, StartFailed(pid.status()), clock_.Elapsed());
  }
}

void Agent::SendReport() {
  const absl::Duration now = clock_.Elapsed();
  if (now < reported_at_ + options_.report_gap) return;
  v1::WorkerReport report = core_.Report(now);
  std::string essence = EssenceOf(report);
  if (essence == reported_ && now < reported_at_ + options_.report_period) return;
  reported_ = std::move(essence);
  reported_at_ = now;
  session_->Send(std::move(report));
}

void Agent::NoteNumbers() {
  const absl::Duration now = clock_.Elapsed();
  AgentNumbers numbers{.connected = session_->connected(),
                       .since_heard = now - heard_at_,
                       .ranks_alive = core_.AliveRanks(),
                       .ranks_started = started_,
                       .ranks_ended = ended_,
                       .log_bytes_dropped = telemetry_->dropped_log_bytes(),
                       .telemetry_acknowledged = telemetry_->acknowledged_items()};
  absl::MutexLock lock(&mu_);
  numbers_ = numbers;
}

void Agent::EndIfDone() {
  if (!draining_ && !killing_) return;
  if (core_.AliveRanks() > 0) return;
  const absl::Duration now = clock_.Elapsed();
  // The coordinator has heard of their ends when it wants none of them any more.
  end_by_ = std::min(end_by_, now + (killing_ ? kLastWordsOfKilled : kLastWords));
  if (!core_.HasRanks() || now >= end_by_)
    EndWith(AgentEnd::kDrained, killing_ ? "every rank is killed" : "every rank has stopped");
}

void Agent::EndWith(AgentEnd how, std::string why) {
  absl::MutexLock lock(&mu_);
  if (!end_) end_ = End{how, std::move(why)};
}

}  // namespace trainyard::worker
