// What the agent must know after its own death: one folder per rank, with `rank.json` saying who
// the process is, how to reach it and what of its words is already safe at the coordinator.
//
//   HOME/ranks/JOB-aN-rN/   rank.json, log, and what link and trainer keep there
//   HOME/aside/             folders that could not be understood, newest 16
//
// rank.json is replaced atomically. Torn or foreign folders are reported and moved aside, never
// fatal.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

#include "common/status.h"
#include "worker/agent/log_tail.h"
#include "worker/agent/process_identity.h"
#include "worker/agent/rank_key.h"

namespace trainyard::worker {

// How a rank's process ended.
struct RankEnd {
  std::string kind;     // succeeded | failed | stopped
  std::string reason;   // UPPER_SNAKE
  std::string message;  // one sentence
  int exit_code = 0;
  int signal = 0;  // 0: it exited by itself
  bool operator==(const RankEnd&) const = default;
};

struct RankRecord {
  RankKey key;
  ProcessIdentity process;  // pid 0: it never ran
  std::string socket;       // where the trainer listens
  std::string hello_secret;
  LogPlace log;                    // acknowledged by the coordinator
  int64_t telemetry_sequence = 0;  // of the link's telemetry channel, acknowledged likewise
  bool ended = false;
  RankEnd end;  // when ended
  bool operator==(const RankRecord&) const = default;
};

std::string ToJson(const RankRecord& record);
// DataLoss naming the field that is missing or of the wrong type.
StatusOr<RankRecord> RankRecordFromJson(std::string_view json);

class Journal {
 public:
  // Creates what is missing under `home`.
  static StatusOr<Journal> Open(const std::filesystem::path& home);

  struct Scanned {
    std::vector<RankRecord> ranks;        // by key
    std::vector<std::string> complaints;  // one sentence for each folder moved aside
  };
  // Reads all folders. One without rank.json was never started and is deleted.
  StatusOr<Scanned> Scan();

  std::filesystem::path Folder(const RankKey& key) const { return ranks_ / NameOf(key); }
  std::filesystem::path LogFile(const RankKey& key) const { return Folder(key) / "log"; }

  // An empty folder (0700) for a rank that is to be started.
  Status MakeFolder(const RankKey& key);
  Status Write(const RankRecord& record);
  // Deletes the rank's folder; it disappears at once, also after a crash in between.
  Status Remove(const RankKey& key);

 private:
  Journal(std::filesystem::path ranks, std::filesystem::path aside)
      : ranks_(std::move(ranks)), aside_(std::move(aside)) {}

  std::string MoveAside(const std::filesystem::path& path, const Status& why);

  std::filesystem::path ranks_;
  std::filesystem::path aside_;
};

}  // namespace trainyard::worker
