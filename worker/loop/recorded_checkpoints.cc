#include "worker/loop/recorded_checkpoints.h"

#include <spdlog/spdlog.h>

#include <algorithm>
#include <nlohmann/json.hpp>
#include <set>
#include <utility>

#include "common/checkpoint_manifest.h"
#include "common/files.h"
#include "worker/loop/outcome.h"

namespace trainyard::worker {

using Json = nlohmann::ordered_json;

StatusOr<RecordedCheckpoints> RecordedCheckpoints::Open(const std::filesystem::path& file,
                                                        BlobStore* blobs) {
  RecordedCheckpoints recorded(file, blobs);
  const StatusOr<std::string> text = ReadFile(file, 1 << 24);
  if (absl::IsNotFound(text.status())) return recorded;
  if (!text.ok()) return text.status();
  try {
    const Json json = Json::parse(*text);
    json.at("attempts").get_to(recorded.attempts_);
    for (const Json& entry : json.at("checkpoints")) {
      recorded.checkpoints_.push_back({.step = entry.at("step"),
                                       .key = entry.at("key"),
                                       .manifest_digest = entry.at("manifest_digest"),
                                       .size_bytes = entry.at("size_bytes")});
      RETURN_IF_ERROR(CheckBlobKey(recorded.checkpoints_.back().key));
    }
  } catch (const Json::exception& error) {
    return DataLoss("{} is damaged: {}", file.string(), error.what());
  }
  return recorded;
}

Status RecordedCheckpoints::Save() const {
  Json entries = Json::array();
  for (const link::WrittenCheckpoint& c : checkpoints_) {
    entries.push_back({{"step", c.step},
                       {"key", c.key},
                       {"manifest_digest", c.manifest_digest},
                       {"size_bytes", c.size_bytes}});
  }
  const Json json = {{"version", 1}, {"attempts", attempts_}, {"checkpoints", std::move(entries)}};
  return WriteFileAtomically(file_, json.dump(2) + "\n");
}

StatusOr<AttemptNumber> RecordedCheckpoints::BeginAttempt() {
  ++attempts_;
  RETURN_IF_ERROR(Save());
  return attempts_;
}

Status RecordedCheckpoints::Record(const link::WrittenCheckpoint& checkpoint, int64_t limit) {
  checkpoints_.push_back(checkpoint);
  std::vector<link::WrittenCheckpoint> dropped;
  while (limit > 0 && static_cast<int64_t>(checkpoints_.size()) > limit) {
    dropped.push_back(checkpoints_.front());
    checkpoints_.erase(checkpoints_.begin());
  }
  RETURN_IF_ERROR(Save());
  for (const link::WrittenCheckpoint& old : dropped) {
    RETURN_IF_ERROR(blobs_->DeletePrefix(old.key));
  }
  return OkStatus();
}

StatusOr<std::optional<link::ResumePoint>> RecordedCheckpoints::NewestIntact() {
  Status damage = OkStatus();
  while (!checkpoints_.empty()) {
    const link::WrittenCheckpoint newest = checkpoints_.back();
    ASSIGN_OR_RETURN(const auto folder, blobs_->LocalPath(newest.key));
    const Status intact = VerifyCheckpoint(folder.value(), newest.manifest_digest).status();
    if (intact.ok()) {
      return link::ResumePoint{newest.step, newest.key, newest.manifest_digest};
    }
    damage = Annotate(intact, "checkpoint " + newest.key);
    spdlog::error("refused: {}", MessageOf(damage));
    checkpoints_.pop_back();
  }
  if (damage.ok()) return std::nullopt;
  return WithReason(damage, kCheckpointDamaged);
}

Status RecordedCheckpoints::Sweep(const JobId& job) {
  std::set<std::string> known;
  for (const link::WrittenCheckpoint& c : checkpoints_) known.insert(c.key);
  ASSIGN_OR_RETURN(const std::vector<std::string> folders,
                   blobs_->Folders("checkpoints/" + job.value));
  for (const std::string& folder : folders)
    if (!known.contains(folder)) RETURN_IF_ERROR(blobs_->DeletePrefix(folder));
  return OkStatus();
}

}  // namespace trainyard::worker
