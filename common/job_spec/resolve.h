// From what somebody gave to what will be done: every default written out, with where each value
// came from. The resolved spec is what is stored, shown and handed to trainers.
#pragma once

#include <map>
#include <nlohmann/json.hpp>
#include <string>
#include <utility>

#include "common/job_spec/reader.h"

namespace trainyard {

struct ResolvedSpec {
  JobSpec spec;
  // Concrete path of every leaf -> "default" | "job file" | "--set" | "preset llama-nano" |
  // "planner". Not of data.*[].files, which submit fills in: there may be thousands.
  std::map<std::string, std::string> origins;
};

// Validates, turns model.preset into model.config, chooses train.micro_batch_size. Resolving a
// resolved spec's JSON again changes no value.
StatusOr<ResolvedSpec> Resolve(const ParsedJob& job);
// The same for a spec of unknown history: what differs from the default is from the job file.
StatusOr<ResolvedSpec> Resolve(const JobSpec& spec);

// {"spec": {...}, "origins": {...}}, as the store keeps it.
nlohmann::ordered_json ResolvedToJson(const ResolvedSpec& resolved);
StatusOr<ResolvedSpec> ResolvedFromJson(const nlohmann::ordered_json& json);

}  // namespace trainyard
