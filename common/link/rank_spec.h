// What an agent hands a trainer at its start: one JSON file, read once. The secret that proves an
// agent to the trainer is not in it: it comes by an inherited file descriptor.
#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "common/ids.h"
#include "common/job_spec/job_spec.h"
#include "common/status.h"

namespace trainyard::link {

struct MeshPosition {
  int32_t data = 0, tensor = 0, pipeline = 0;
  bool operator==(const MeshPosition&) const = default;
};

struct RankPlacement {
  int32_t rank = 0;
  std::string role = "train";  // train | score | rollout | serve
  WorkerId worker = {};
  int32_t slot = 0;
  double share = 1.0;  // of the slot
  MeshPosition mesh = {};
  bool operator==(const RankPlacement&) const = default;
};

struct RankSpec {
  int32_t version = 1;
  JobId job = {};
  AttemptNumber attempt = 0;
  int32_t rank = 0;                       // which of `ranks` this process is
  std::vector<RankPlacement> ranks = {};  // of the whole attempt, in rank order
  JobSpec spec = {};                      // resolved
  std::string blob_root = {};             // folder of the BlobStore
  std::string work_dir = {};              // this rank's own folder: scratch, exit record
  // What this host's measurements came to, kept by the agent (common/plan/kept_paces.h). With
  // blob_root and work_dir all that a rank may open.
  std::optional<std::string> paces_file = {};
  std::string socket_path = {};   // the trainer listens here; its folder is 0700
  std::string bind_address = {};  // for its peers, e.g. "127.0.0.1"; the port is ephemeral
};

// Atomically, mode as umask has it.
Status WriteRankSpec(const std::filesystem::path& path, const RankSpec& spec);
// InvalidArgument names the field; also for another version, for ranks that are not 0..n-1 in order
// and for a rank that is not one of them.
StatusOr<RankSpec> ReadRankSpec(const std::filesystem::path& path);

std::string RankSpecToJsonText(const RankSpec& spec);
StatusOr<RankSpec> RankSpecFromJsonText(std::string_view text);

}  // namespace trainyard::link
