#include "common/link/rank_spec.h"

#include "common/files.h"
#include "common/job_spec/json.h"
#include "common/link/archive.h"

namespace trainyard::link {
namespace {

constexpr int32_t kRankSpecVersion = 1;
constexpr int64_t kMaxFileBytes = 16 << 20;

}  // namespace

template <class A>
void Fields(A& a, MeshPosition& m) {
  a("data", m.data);
  a("tensor", m.tensor);
  a("pipeline", m.pipeline);
}

template <class A>
void Fields(A& a, RankPlacement& m) {
  a("rank", m.rank);
  a("role", m.role);
  a("worker", m.worker);
  a("slot", m.slot);
  a("share", m.share);
  a("mesh", m.mesh);
}

// All but the job spec, which has its own JSON form.
template <class A>
void Fields(A& a, RankSpec& m) {
  a("version", m.version);
  a("job", m.job);
  a("attempt", m.attempt);
  a("rank", m.rank);
  a("ranks", m.ranks);
  a("blob_root", m.blob_root);
  a("work_dir", m.work_dir);
  a("paces_file", m.paces_file);
  a("socket_path", m.socket_path);
  a("bind_address", m.bind_address);
}

std::string RankSpecToJsonText(const RankSpec& spec) {
  Writer writer;
  Fields(writer, const_cast<RankSpec&>(spec));  // a Writer only reads
  writer.Raw("spec", JobSpecToJson(spec.spec));
  return writer.Take().dump(2) + "\n";
}

StatusOr<RankSpec> RankSpecFromJsonText(std::string_view text) {
  const auto json = nlohmann::ordered_json::parse(text, nullptr, /*allow_exceptions=*/false);
  if (json.is_discarded()) return InvalidArgument("rank spec: not JSON");
  RankSpec spec;
  Status error;
  Reader reader(json, "rank_spec", &error);
  reader("version", spec.version);
  if (error.ok() && spec.version != kRankSpecVersion) {
    return InvalidArgument("rank_spec.version: this build reads {}, found {}", kRankSpecVersion,
                           spec.version);
  }
  Fields(reader, spec);
  const nlohmann::ordered_json* job_spec = reader.Raw("spec");
  RETURN_IF_ERROR(error);
  StatusOr<JobSpec> parsed = JobSpecFromJson(*job_spec);
  if (!parsed.ok()) return Annotate(parsed.status(), "rank_spec.spec");
  spec.spec = *std::move(parsed);
  for (size_t i = 0; i < spec.ranks.size(); ++i) {
    if (spec.ranks[i].rank != static_cast<int32_t>(i)) {
      return InvalidArgument("rank_spec.ranks[{}].rank: wants {}, found {}", i, i,
                             spec.ranks[i].rank);
    }
  }
  if (spec.rank < 0 || static_cast<size_t>(spec.rank) >= spec.ranks.size()) {
    return InvalidArgument("rank_spec.rank: {} is not one of {} ranks", spec.rank,
                           spec.ranks.size());
  }
  return spec;
}

Status WriteRankSpec(const std::filesystem::path& path, const RankSpec& spec) {
  return WriteFileAtomically(path, RankSpecToJsonText(spec));
}

StatusOr<RankSpec> ReadRankSpec(const std::filesystem::path& path) {
  ASSIGN_OR_RETURN(const std::string text, ReadFile(path, kMaxFileBytes));
  StatusOr<RankSpec> spec = RankSpecFromJsonText(text);
  if (!spec.ok()) return Annotate(spec.status(), path.string());
  return spec;
}

}  // namespace trainyard::link
