#include "worker/agent/ranks.h"

#include <spdlog/spdlog.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <nlohmann/json.hpp>

#include "common/job_spec/json.h"
#include "common/link/rank_spec.h"
#include "common/link/telemetry_file.h"
#include "worker/agent/rank_words.h"

namespace trainyard::worker {
namespace {

namespace fs = std::filesystem;

// sun_path of unix(7) has 108 bytes, the last of them zero.
constexpr size_t kSocketPathMax = 107;
// Between two writes of a rank's journal. Shorter sends less again after a crash; costs an fsync
// each.
constexpr absl::Duration kJournalPeriod = absl::Seconds(5);
// Nor more shipped log bytes than this, which stay on disk until then.
constexpr int64_t kJournalBytes = 4 << 20;

link::RankPlacement PlacementOf(const v1::Rank& rank) {
  link::RankPlacement placement;
  placement.rank = rank.rank();
  placement.role = rank.role();
  placement.worker = WorkerId{rank.worker()};
  placement.slot = rank.slot();
  placement.share = rank.share();
  placement.mesh = {rank.mesh().data(), rank.mesh().tensor(), rank.mesh().pipeline()};
  return placement;
}

StatusOr<JobSpec> SpecOf(const v1::DesiredRank& desired) {
  const auto json = nlohmann::ordered_json::parse(desired.spec_json(), nullptr, false);
  if (json.is_discarded()) return InvalidArgument("the job's spec is not JSON");
  return JobSpecFromJson(json);
}

// A folder of ours that nobody else may enter; it must not exist as anything else.
Status MakePrivateFolder(const fs::path& path) {
  struct stat info;
  if (::mkdir(path.c_str(), 0700) != 0 && errno != EEXIST)
    return ErrnoStatus(errno, fmt::format("cannot make {}", path.string()));
  if (::lstat(path.c_str(), &info) != 0 || !S_ISDIR(info.st_mode) || info.st_uid != ::geteuid() ||
      (info.st_mode & 077) != 0)
    return PermissionDenied("{} exists and is not a private folder of this user", path.string());
  return OkStatus();
}

}  // namespace

StatusOr<std::unique_ptr<Ranks>> Ranks::Open(const RanksOptions& options, Telemetry& telemetry,
                                             RankLinkEvents link_events, const Clock& clock) {
  ASSIGN_OR_RETURN(Journal journal, Journal::Open(options.home));
  return std::unique_ptr<Ranks>(
      new Ranks(options, std::move(journal), telemetry, std::move(link_events), clock));
}

StatusOr<std::vector<RankRecord>> Ranks::AdoptAll() {
  ASSIGN_OR_RETURN(Journal::Scanned scanned, journal_.Scan());
  for (const std::string& complaint : scanned.complaints) spdlog::error("journal: {}", complaint);
  std::vector<RankRecord> adopted;
  for (const RankRecord& record : scanned.ranks) {
    Rank& rank = ranks_[record.key];
    rank.record = record;
    rank.said_up_to = rank.acknowledged = static_cast<uint64_t>(record.telemetry_sequence);
    telemetry_.Add(record.key, journal_.LogFile(record.key), record.log);
    if (!record.ended) {
      StatusOr<UniqueFd> pidfd = OpenProcess(record.process);
      if (pidfd.ok()) {
        spdlog::info("{}: adopted process {}", NameOf(record.key), record.process.pid);
        rank.pidfd = *std::move(pidfd);
        Dial(rank);
      } else {
        spdlog::warn("{}: {} while no agent watched", NameOf(record.key),
                     MessageOf(pidfd.status()));
        Bury(record.key, "");
      }
    } else {
      ReadRest(rank);
    }
    adopted.push_back(rank.record);
  }
  return adopted;
}

StatusOr<std::string> Ranks::SocketFor(const RankKey& key) {
  const fs::path beside = journal_.Folder(key) / "link.sock";
  if (beside.string().size() <= kSocketPathMax) return beside.string();
  const fs::path folder = fs::temp_directory_path() /
                          ("trainyard-" + Sha256(journal_.Folder(key).string()).substr(0, 16));
  RETURN_IF_ERROR(MakePrivateFolder(folder));
  return (folder / "link.sock").string();
}

Status Ranks::WriteSpec(const v1::DesiredRank& desired, const RankRecord& record) {
  link::RankSpec spec;
  spec.job = record.key.job;
  spec.attempt = record.key.attempt;
  spec.rank = record.key.rank;
  for (const v1::Rank& rank : desired.all_ranks()) spec.ranks.push_back(PlacementOf(rank));
  ASSIGN_OR_RETURN(spec.spec, SpecOf(desired));
  spec.blob_root = options_.blob_root;
  spec.work_dir = journal_.Folder(record.key);
  spec.paces_file = (options_.home / "paces.json").string();
  spec.socket_path = record.socket;
  spec.bind_address = options_.bind_address;
  return link::WriteRankSpec(journal_.Folder(record.key) / "spec.json", spec);
}

StatusOr<SpawnRequest> Ranks::RequestFor(const v1::DesiredRank& desired, const RankRecord& record) {
  const auto slot =
      std::find_if(options_.slots.begin(), options_.slots.end(),
                   [&](const LocalSlot& s) { return s.index == desired.rank().slot(); });
  if (slot == options_.slots.end())
    return InvalidArgument("it is placed on slot {}, which this worker does not have",
                           desired.rank().slot());
  ASSIGN_OR_RETURN(const JobSpec spec, SpecOf(desired));
  const fs::path folder = journal_.Folder(record.key);
  SpawnRequest request;
  request.command = {options_.trainer.string(),       "rank",        "--spec",
                     (folder / "spec.json").string(), "--secret-fd", std::to_string(kSecretFd)};
  request.environment = TrainerEnvironment(spec.resources.threads_per_rank, slot->cuda_device);
  request.log = journal_.LogFile(record.key);
  request.folder = folder;
  request.secret = record.hello_secret;
  return request;
}

StatusOr<int64_t> Ranks::Start(const v1::DesiredRank& desired) {
  RankRecord record;
  record.key = {JobId{desired.job_id()}, desired.attempt(), desired.rank().rank()};
  record.hello_secret = RandomHex(32);
  const auto start = [&]() -> StatusOr<Spawned> {
    RETURN_IF_ERROR(journal_.MakeFolder(record.key));
    ASSIGN_OR_RETURN(record.socket, SocketFor(record.key));
    ASSIGN_OR_RETURN(const SpawnRequest request, RequestFor(desired, record));
    RETURN_IF_ERROR(WriteSpec(desired, record));
    return Spawn(request, [&](const ProcessIdentity& identity) {
      record.process = identity;
      return journal_.Write(record);
    });
  };
  StatusOr<Spawned> spawned = start();
  if (!spawned.ok()) {
    RemoveFiles(record);
    return spawned.status();
  }
  Rank& rank = ranks_[record.key];
  rank.record = record;
  rank.pidfd = std::move(spawned->pidfd);
  telemetry_.Add(record.key, journal_.LogFile(record.key), {});
  Dial(rank);
  return int64_t{record.process.pid};
}

void Ranks::Dial(Rank& rank) {
  StatusOr<std::unique_ptr<RankLink>> line =
      RankLink::Dial({rank.record.key, rank.record.socket, rank.record.hello_secret, agent_},
                     link_events_, clock_);
  // Only a want of threads or descriptors does that: the rank runs on, and its log is shipped.
  if (!line.ok())
    spdlog::error("{}: cannot be dialled: {}", NameOf(rank.record.key), MessageOf(line.status()));
  else
    rank.link = *std::move(line);
}

void Ranks::Direct(const RankKey& key, const link::Directive& directive) {
  const auto at = ranks_.find(key);
  if (at == ranks_.end() || at->second.link == nullptr || at->second.told == directive) return;
  at->second.told = directive;
  at->second.link->Direct(directive);
}

void Ranks::Kill(const RankKey& key, const std::string& why) {
  const auto at = ranks_.find(key);
  if (at == ranks_.end()) return;
  spdlog::warn("{}: killing process group {}: {}", NameOf(key), at->second.record.process.pid, why);
  if (const Status status = KillGroup(at->second.record.process); !status.ok())
    spdlog::error("{}: {}", NameOf(key), MessageOf(status));
}

void Ranks::NoteOutOfMemoryKills(absl::Duration now) {
  if (now < out_of_memory_noted_at_ + absl::Seconds(1)) return;
  out_of_memory_noted_at_ = now;
  // One to two seconds are looked back on, so that a kill and the death it caused do not fall on
  // different sides, and one kill explains every rank it took.
  out_of_memory_kills_before_ = out_of_memory_kills_;
  out_of_memory_kills_ = OutOfMemoryKills();
}

void Ranks::CloseLink(const RankKey& key) {
  const auto at = ranks_.find(key);
  if (at == ranks_.end() || at->second.link == nullptr) return;
  at->second.link->HearOut();
  at->second.link.reset();
}

RankEnd Ranks::Bury(const RankKey& key, const std::string& killed_why) {
  Rank& rank = ranks_.at(key);
  rank.link.reset();
  DeathFacts facts;
  if (StatusOr<std::optional<ExitStatus>> status =
          worker::Bury(rank.record.process, rank.pidfd.get());
      status.ok())
    facts.status = *status;
  facts.record = link::ReadExitRecord(journal_.Folder(key) / link::kExitRecordFile);
  facts.killed_why = killed_why;
  facts.out_of_memory_kills = OutOfMemoryKills() > out_of_memory_kills_before_;
  rank.pidfd.Close();
  rank.record.ended = true;
  rank.record.end = EndOf(key, facts);
  spdlog::info("{}: ended: {} {} {}", NameOf(key), rank.record.end.kind, rank.record.end.reason,
               rank.record.end.message);
  if (const Status status = journal_.Write(rank.record); !status.ok())
    spdlog::error("{}: {}", NameOf(key), MessageOf(status));
  ReadRest(rank);
  return rank.record.end;
}

// What the trainer could not tell any agent before it ended lies in its folder: its last state,
// perhaps with a checkpoint that nobody has heard of, and its telemetry.
void Ranks::ReadRest(Rank& rank) {
  const fs::path folder = journal_.Folder(rank.record.key);
  const StatusOr<link::ExitRecord> record = link::ReadExitRecord(folder / link::kExitRecordFile);
  if (record.ok()) link_events_.status(rank.record.key, record->status);
  StatusOr<std::vector<link::NumberedTelemetry>> rest =
      link::ReadTelemetryFile(folder / link::kUnsentTelemetryFile);
  if (!rest.ok()) {
    if (!absl::IsNotFound(rest.status()))
      spdlog::error("{}: its unsent telemetry: {}", NameOf(rank.record.key),
                    MessageOf(rest.status()));
    return;
  }
  for (link::NumberedTelemetry& words : *rest)
    Say(rank.record.key, words.sequence, std::move(words.message));
}

void Ranks::Say(const RankKey& key, uint64_t sequence, link::Telemetry words) {
  const auto at = ranks_.find(key);
  if (at == ranks_.end() || sequence <= at->second.said_up_to) return;
  at->second.said_up_to = sequence;
  at->second.said.push_back({sequence, ToRequest(key, std::move(words))});
}

void Ranks::Ship(absl::Duration now) {
  for (auto& [key, rank] : ranks_) {
    while (!rank.said.empty() && telemetry_.Offer(key, rank.said.front().item,
                                                  static_cast<int64_t>(rank.said.front().sequence)))
      rank.said.pop_front();
    TakeProgress(rank, now);
  }
}

void Ranks::TakeProgress(Rank& rank, absl::Duration now) {
  const RankKey& key = rank.record.key;
  const std::optional<TelemetryQueue::Progress> progress = telemetry_.ProgressOf(key);
  if (!progress) return;
  if (const auto durable = static_cast<uint64_t>(progress->link_sequence);
      durable > rank.acknowledged) {
    rank.acknowledged = durable;
    if (rank.link != nullptr) rank.link->AcknowledgeTelemetry(durable);
  }
  const auto acknowledged = static_cast<int64_t>(rank.acknowledged);
  if (progress->log == rank.record.log && acknowledged == rank.record.telemetry_sequence) return;
  if (now < rank.journaled_at + kJournalPeriod &&
      progress->log.file < rank.record.log.file + kJournalBytes)
    return;
  rank.journaled_at = now;
  rank.record.log = progress->log;
  rank.record.telemetry_sequence = acknowledged;
  // In this order: what the journal does not vouch for must stay in the file.
  Status status = journal_.Write(rank.record);
  if (status.ok()) status = telemetry_.Release(key, rank.record.log);
  if (!status.ok()) spdlog::error("{}: {}", NameOf(key), MessageOf(status));
}

bool Ranks::IsShipped(const RankKey& key) {
  const auto at = ranks_.find(key);
  if (at == ranks_.end()) return true;
  if (!at->second.record.ended || !at->second.said.empty()) return false;
  const std::optional<TelemetryQueue::Progress> progress = telemetry_.ProgressOf(key);
  return !progress || progress->idle;
}

void Ranks::Forget(const RankKey& key) {
  const auto at = ranks_.find(key);
  if (at == ranks_.end()) return;
  telemetry_.Remove(key);
  RemoveFiles(at->second.record);
  ranks_.erase(at);
}

void Ranks::RemoveFiles(const RankRecord& record) {
  const fs::path socket_folder = fs::path(record.socket).parent_path();
  if (!record.socket.empty() && socket_folder != journal_.Folder(record.key)) {
    std::error_code ignored;
    fs::remove_all(socket_folder, ignored);
  }
  if (const Status status = journal_.Remove(record.key); !status.ok())
    spdlog::error("{}: {}", NameOf(record.key), MessageOf(status));
}

std::vector<std::pair<RankKey, int>> Ranks::Watched() const {
  std::vector<std::pair<RankKey, int>> watched;
  for (const auto& [key, rank] : ranks_)
    if (rank.pidfd.valid()) watched.emplace_back(key, rank.pidfd.get());
  return watched;
}

}  // namespace trainyard::worker
