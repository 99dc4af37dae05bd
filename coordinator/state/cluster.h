// Workers, what they report and what they are told: plain values without proto, so that simulation
// and service speak the same words. Meanings field by field:
// proto/trainyard/v1/worker_service.proto.
#pragma once

#include <absl/time/time.h>

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "coordinator/state/job.h"

namespace trainyard::coordinator {

struct Slot {
  int32_t index = 0;
  std::string device = "cpu";
  std::string description;
};

struct Outcome {
  std::string kind;  // succeeded | failed | stopped
  std::string reason, message;
  int32_t exit_code = 0;
  int32_t signal = 0;
};

struct WrittenCheckpoint {
  int64_t step = 0;
  std::string key, manifest_digest;
  int64_t size_bytes = 0;
};

struct CheckpointFailure {
  int64_t step = 0;
  std::string message;
};

struct RankReport {
  JobId job;
  AttemptNumber attempt = 0;
  int32_t rank = 0;
  RankLive live;
  bool prepare_done = false;
  std::vector<PreparedFile> prepared;
  std::vector<Choice> choices;
  std::optional<WrittenCheckpoint> checkpoint;
  std::optional<CheckpointFailure> checkpoint_failure;
  std::optional<Outcome> outcome;  // set once exited
};

struct WorkerReport {
  WorkerId worker;
  std::string epoch;  // random per start of the daemon
  std::string host, host_id, version, http_address;
  std::vector<Slot> slots;
  int64_t memory_bytes = 0;  // of its host, for all ranks there; 0: not told
  std::string blob_probe;
  std::vector<RankReport> ranks;
  int64_t report_number = 0;
};

enum class Stop { kNone, kCheckpoint, kNow };

struct DesiredRank {
  JobId job;
  AttemptNumber attempt = 0;
  RankPlacement placement;
  std::vector<RankPlacement> all_ranks;
  std::shared_ptr<const JobSpec> spec;
  std::string attempt_secret;
  std::vector<std::string> peers;  // in rank order; empty until all are known
  bool prepare_done = false;
  std::vector<PreparedFile> prepared;
  std::vector<Choice> choices;
  std::optional<Checkpoint> resume;
  int64_t recorded_step = -1;
  Stop stop = Stop::kNone;
};

// A rank that a worker reports and that is not in here is to be killed and forgotten.
struct DesiredState {
  std::string coordinator_epoch;
  std::vector<DesiredRank> ranks;
  std::string blob_probe_key;
  int64_t report_number = 0;
  std::string refused;
};

struct Worker {
  WorkerId id;
  std::string epoch, host, host_id, version, http_address;
  std::vector<Slot> slots;
  int64_t memory_bytes = 0;  // of its host; 0: not told
  absl::Time last_report = absl::InfinitePast();
  bool reachable = false;  // reported within the last 6 s
};

}  // namespace trainyard::coordinator
