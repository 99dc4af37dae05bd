// Jobs and their parts as JSON: in the store's tables and in the payloads of events. Times are
// microseconds since 1970, absent when infinite. Reading is strict about what it needs and never
// throws: DataLoss names the field.
#pragma once

#include <nlohmann/json.hpp>
#include <string_view>

#include "common/status.h"
#include "coordinator/state/job.h"

namespace trainyard::coordinator {

using Json = nlohmann::ordered_json;

// What never changes after a job's creation: the payload of its JobCreated event.
Json BirthToJson(const Job& job);
StatusOr<Job> JobFromBirth(const Json& birth);

// Everything else, as of now: the derived row.
// The spec and origins that a retry changed, out of an event or of a job's progress.
Status ReadChangedSpec(const Json& json, Job& job);

Json ProgressToJson(const Job& job);
Status ReadProgress(const Json& progress, Job& job);

Json PlacementToJson(const RankPlacement& placement);
StatusOr<RankPlacement> PlacementFromJson(const Json& json);
Json ChoicesToJson(const std::vector<Choice>& choices);
StatusOr<std::vector<Choice>> ChoicesFromJson(const Json& json);
Json PreparedToJson(const std::vector<PreparedFile>& files);
StatusOr<std::vector<PreparedFile>> PreparedFromJson(const Json& json);
Json CheckpointToJson(const Checkpoint& checkpoint);
StatusOr<Checkpoint> CheckpointFromJson(const JobId& job, const Json& json);

// Absent, null: `fallback`.
void PutTime(Json& json, const char* key, absl::Time time);
absl::Time GetTime(const Json& json, const char* key, absl::Time fallback);

// Runs `read`, turning what nlohmann/json throws into DataLoss.
template <class F>
Status ReadJson(std::string_view what, F&& read) {
  try {
    return read();
  } catch (const nlohmann::json::exception& error) {
    return DataLoss("{} cannot be read from its JSON: {}", what, error.what());
  }
}

}  // namespace trainyard::coordinator
