#include "tests/worker/loop/scripted_agent.h"

#include <algorithm>
#include <utility>

#include "common/files.h"
#include "common/link/rank_spec.h"
#include "tests/worker/loop/tiny_job.h"

namespace trainyard::worker {
namespace {

constexpr char kLinkSecret[] = "link secret of this test";
constexpr absl::Duration kPatience = absl::Seconds(90);

}  // namespace

ScriptedAgent::ScriptedAgent(AttemptOptions options)
    : options_(std::move(options)),
      clients_(static_cast<size_t>(options_.ranks)),
      statuses_(static_cast<size_t>(options_.ranks)),
      directives_(static_cast<size_t>(options_.ranks)),
      record_(options_.record_checkpoints) {
  for (link::Directive& directive : directives_) {
    directive.attempt_secret = kAttemptSecret;
    directive.resume = options_.resume;
    if (options_.resume.has_value()) directive.recorded_step = options_.resume->step;
  }
}

ScriptedAgent::~ScriptedAgent() {
  for (int rank = 0; rank < options_.ranks; ++rank) HangUp(rank);
}

std::filesystem::path ScriptedAgent::Folder(int rank) const {
  return options_.folder / fmt::format("a{}-r{}", options_.attempt, rank);
}

Status ScriptedAgent::Start() {
  for (int rank = 0; rank < options_.ranks; ++rank) RETURN_IF_ERROR(StartRank(rank));
  return OkStatus();
}

Status ScriptedAgent::StartRank(int rank) {
  const std::filesystem::path folder = Folder(rank);
  RETURN_IF_ERROR(MakeFolders(folder));
  link::RankSpec spec{.job = JobId{"tiny-00000"},
                      .attempt = options_.attempt,
                      .rank = rank,
                      .ranks = {},
                      .spec = options_.spec,
                      .blob_root = options_.blob_root,
                      .work_dir = folder,
                      .socket_path = folder / "s",
                      .bind_address = "127.0.0.1"};
  for (int r = 0; r < options_.ranks; ++r) {
    link::RankPlacement placement;
    placement.rank = r;
    placement.worker = WorkerId{"worker-0"};
    placement.slot = r;
    placement.mesh.data = r;
    spec.ranks.push_back(placement);
  }
  RETURN_IF_ERROR(link::WriteRankSpec(folder / "spec.json", spec));
  ASSIGN_OR_RETURN(
      Process process,
      Process::Start({.command = {TrainerProgram(), "rank", "--spec", folder / "spec.json",
                                  "--secret-fd", "3", "--agent-timeout-seconds",
                                  fmt::format("{}", options_.agent_timeout_seconds)},
                      .secret = kLinkSecret}));
  processes_.push_back(std::move(process));
  ASSIGN_OR_RETURN(
      std::unique_ptr<link::LinkClient> client,
      link::LinkClient::Start(
          {.socket_path = spec.socket_path,
           .secret = kLinkSecret,
           .agent = RandomHex(8),
           .job = spec.job,
           .attempt = spec.attempt,
           .rank = rank},
          {.on_status = [this, rank](const link::RankStatus& status) { Hear(rank, status); },
           .on_telemetry = [this, rank](uint64_t sequence,
                                        const link::Telemetry& m) { Keep(rank, sequence, m); },
           .on_connected = [](const link::Challenge&) {},
           .on_disconnected = [](const Status&) {}},
          clock_));
  absl::MutexLock lock(&mu_);
  clients_[static_cast<size_t>(rank)] = std::move(client);
  Send();
  return OkStatus();
}

void ScriptedAgent::Send() {
  for (size_t rank = 0; rank < clients_.size(); ++rank) {
    if (clients_[rank] != nullptr) clients_[rank]->SetDirective(directives_[rank]);
  }
}

void ScriptedAgent::Hear(int rank, const link::RankStatus& status) {
  absl::MutexLock lock(&mu_);
  statuses_[static_cast<size_t>(rank)] = status;
  ++words_[rank];
  if (rank == 0 && status.checkpoint.has_value()) newest_ = status.checkpoint;
  std::vector<std::string> peers;
  for (const link::RankStatus& s : statuses_) {
    if (!s.listen_address.empty()) peers.push_back(s.listen_address);
  }
  for (link::Directive& directive : directives_) {
    if (statuses_[0].prepared.has_value() && !directive.prepared.has_value()) {
      directive.prepared = statuses_[0].prepared;
      directive.choices = statuses_[0].choices;
    }
    if (peers.size() == statuses_.size()) directive.peers = peers;
    if (record_ && newest_.has_value()) {
      directive.recorded_step = std::max(directive.recorded_step, newest_->step);
    }
  }
  Send();
}

void ScriptedAgent::Keep(int rank, uint64_t sequence, const link::Telemetry& message) {
  absl::MutexLock lock(&mu_);
  if (const auto* points = std::get_if<link::MetricPoints>(&message)) {
    for (const link::MetricPoint& p : points->points) metrics_[p.name][p.step] = p.value;
  }
  if (const auto* event = std::get_if<link::TrainerEvent>(&message)) {
    event_types_.push_back(event->type);
  }
  link::LinkClient* client = clients_[static_cast<size_t>(rank)].get();
  if (client != nullptr) client->AcknowledgeTelemetry(sequence);
}

link::RankStatus ScriptedAgent::status(int rank) const {
  absl::MutexLock lock(&mu_);
  return statuses_[static_cast<size_t>(rank)];
}

bool ScriptedAgent::Await(int rank,
                          const std::function<bool(const link::RankStatus&)>& wanted) const {
  const auto heard = [&] { return wanted(statuses_[static_cast<size_t>(rank)]); };
  absl::MutexLock lock(&mu_);
  return mu_.AwaitWithTimeout(absl::Condition(&heard), kPatience);
}

bool ScriptedAgent::AwaitWords(int rank, int more) const {
  absl::MutexLock lock(&mu_);
  const auto words = [&] { return words_.contains(rank) ? words_.at(rank) : 0; };
  const int enough = words() + more;
  const auto heard = [&] { return words() >= enough; };
  return mu_.AwaitWithTimeout(absl::Condition(&heard), kPatience);
}

void ScriptedAgent::Tell(const std::function<void(link::Directive&)>& change, int only_rank) {
  absl::MutexLock lock(&mu_);
  for (size_t rank = 0; rank < directives_.size(); ++rank) {
    if (only_rank < 0 || static_cast<size_t>(only_rank) == rank) change(directives_[rank]);
  }
  Send();
}

void ScriptedAgent::HangUp(int rank) {
  std::unique_ptr<link::LinkClient> client;
  {
    absl::MutexLock lock(&mu_);
    client = std::move(clients_[static_cast<size_t>(rank)]);
  }
  // Ends outside the lock: its last callbacks take it.
}

void ScriptedAgent::RecordCheckpoints() {
  absl::MutexLock lock(&mu_);
  record_ = true;
  for (link::Directive& directive : directives_) {
    if (newest_.has_value()) directive.recorded_step = newest_->step;
  }
  Send();
}

std::map<int64_t, double> ScriptedAgent::Metric(const std::string& name) const {
  absl::MutexLock lock(&mu_);
  const auto found = metrics_.find(name);
  return found == metrics_.end() ? std::map<int64_t, double>() : found->second;
}

std::vector<std::string> ScriptedAgent::EventTypes() const {
  absl::MutexLock lock(&mu_);
  return event_types_;
}

std::optional<link::WrittenCheckpoint> ScriptedAgent::newest_checkpoint() const {
  absl::MutexLock lock(&mu_);
  return newest_;
}

StatusOr<link::ExitRecord> ScriptedAgent::Record(int rank) const {
  return link::ReadExitRecord(Folder(rank) / link::kExitRecordFile);
}

}  // namespace trainyard::worker
