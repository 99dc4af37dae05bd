// The link of a rank that somebody runs by hand: no agent, no coordinator. It is rank 0 of 1, so it
// prepares the data itself, and every checkpoint counts as soon as it is recorded in a file.
#pragma once

#include <absl/base/thread_annotations.h>
#include <absl/synchronization/mutex.h>

#include <filesystem>
#include <fstream>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "common/ids.h"
#include "worker/loop/rank_link.h"

namespace trainyard::worker {

struct AloneOptions {
  AttemptNumber attempt = 1;
  std::optional<link::ResumePoint> resume;
  // Metric points are appended here, one JSON object a line: {"attempt", "step", "name", "value"}.
  std::filesystem::path metrics_file;
  // Records a checkpoint durably. One that cannot be recorded does not count.
  std::function<Status(const link::WrittenCheckpoint&)> record;
};

class AloneRank final : public RankLink {
 public:
  explicit AloneRank(AloneOptions options);

  // A request can only grow: none, checkpoint, now.
  void RequestStop(link::StopMode stop);

  link::Directive directive() const override;
  link::StopMode stop() const override;
  StatusOr<link::Directive> WaitUntil(
      std::string_view what, const std::function<bool(const link::Directive&)>& ready) override;
  bool Pause(absl::Duration pause) override;
  bool agent_gone() const override { return false; }

  void SetPhase(link::Phase phase) override;
  void Doing(const std::string& what) override;
  void Beat(int64_t, int64_t) override {}
  void StepTook(absl::Duration) override {}
  void ReportListenAddress(const std::string& address) override;
  void ReportPrepared(const std::vector<link::PreparedFile>& files,
                      const std::vector<Choice>& choices) override;
  void ReportCheckpoint(const link::WrittenCheckpoint& checkpoint) override;
  void ReportCheckpointFailure(const link::CheckpointFailure& failure) override;
  void Metrics(int64_t step, const std::vector<std::pair<std::string, double>>& values) override;
  void Event(std::string_view, const std::string&) override {}  // the log has it

 private:
  const AloneOptions options_;
  mutable absl::Mutex mu_;
  link::Directive directive_ ABSL_GUARDED_BY(mu_);
  Status recorded_ ABSL_GUARDED_BY(mu_);  // how recording the newest checkpoint went
  std::ofstream metrics_ ABSL_GUARDED_BY(mu_);
};

}  // namespace trainyard::worker
