#include "common/wire/values.h"

#include <vector>

namespace trainyard {
namespace {

// 0001-01-01T00:00:00Z and 9999-12-31T23:59:59Z, the bounds of google.protobuf.Timestamp.
constexpr int64_t kMinSeconds = -62135596800;
constexpr int64_t kMaxSeconds = 253402300799;

std::vector<std::string_view> Split(std::string_view text) {
  std::vector<std::string_view> parts;
  while (true) {
    const size_t slash = text.find('/');
    parts.push_back(text.substr(0, slash));
    if (slash == std::string_view::npos) return parts;
    text.remove_prefix(slash + 1);
  }
}

Status BadName(std::string_view name) {
  return WithField(
      WithReason(InvalidArgument("the name {:?} is not one of a job: give an id, a display name, "
                                 "projects/{{project}}/jobs/{{job}} or what lies beneath it "
                                 "(/attempts/{{number}}, /checkpoints/{{step}})",
                                 name.substr(0, 200)),
                 "BAD_NAME"),
      "name");
}

}  // namespace

std::optional<google::protobuf::Timestamp> ToProto(absl::Time time) {
  const int64_t seconds = absl::ToUnixSeconds(time);
  if (seconds < kMinSeconds || seconds > kMaxSeconds) return std::nullopt;
  google::protobuf::Timestamp proto;
  proto.set_seconds(seconds);
  proto.set_nanos(
      static_cast<int32_t>(absl::ToInt64Nanoseconds(time - absl::FromUnixSeconds(seconds))));
  return proto;
}

StatusOr<absl::Time> TimeFromProto(const google::protobuf::Timestamp& time) {
  if (time.seconds() < kMinSeconds || time.seconds() > kMaxSeconds || time.nanos() < 0 ||
      time.nanos() > 999'999'999)
    return InvalidArgument("{} s {} ns is not a time between the years 1 and 9999", time.seconds(),
                           time.nanos());
  return absl::FromUnixSeconds(time.seconds()) + absl::Nanoseconds(time.nanos());
}

StatusOr<ResourceName> ParseResourceName(std::string_view name) {
  const std::vector<std::string_view> parts = Split(name);
  for (const std::string_view part : parts)
    if (part.empty() || part.size() > 200) return BadName(name);
  ResourceName result;
  if (parts.size() == 1) {
    result.job = parts[0];
    return result;
  }
  if ((parts.size() != 4 && parts.size() != 6) || parts[0] != "projects" || parts[2] != "jobs")
    return BadName(name);
  result.project = parts[1];
  result.job = parts[3];
  if (parts.size() == 6) {
    if (parts[4] != "attempts" && parts[4] != "checkpoints") return BadName(name);
    result.collection = parts[4];
    result.item = parts[5];
  }
  return result;
}

std::string JobName(std::string_view project, std::string_view job) {
  return fmt::format("projects/{}/jobs/{}", project, job);
}
std::string AttemptName(std::string_view project, std::string_view job, int32_t number) {
  return fmt::format("projects/{}/jobs/{}/attempts/{}", project, job, number);
}
std::string CheckpointName(std::string_view project, std::string_view job, int64_t step) {
  return fmt::format("projects/{}/jobs/{}/checkpoints/{}", project, job, step);
}
std::string WorkerName(std::string_view worker) { return fmt::format("workers/{}", worker); }

}  // namespace trainyard
