// Small values on the wire: times, resource names.
#pragma once

#include <absl/time/time.h>
#include <google/protobuf/timestamp.pb.h>

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "common/status.h"

namespace trainyard {

// Infinite times (not started, not ended) have no place on the wire: leave the field unset.
std::optional<google::protobuf::Timestamp> ToProto(absl::Time time);
// InvalidArgument outside of years 1 to 9999 or with nanoseconds outside of 0..999,999,999.
StatusOr<absl::Time> TimeFromProto(const google::protobuf::Timestamp& time);

// projects/{project}/jobs/{job}[/attempts/{attempt}|/checkpoints/{checkpoint}]. A name without
// slashes is the job itself, in project "default".
struct ResourceName {
  std::string project = "default";
  std::string job;
  std::string collection;  // "attempts" or "checkpoints"; empty: the job itself
  std::string item;        // of the collection: "3", "400", "latest"
};
// InvalidArgument (reason BAD_NAME, field "name") with the form that is wanted.
StatusOr<ResourceName> ParseResourceName(std::string_view name);
std::string JobName(std::string_view project, std::string_view job);
std::string AttemptName(std::string_view project, std::string_view job, int32_t number);
std::string CheckpointName(std::string_view project, std::string_view job, int64_t step);
std::string WorkerName(std::string_view worker);

}  // namespace trainyard
