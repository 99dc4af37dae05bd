// The form in which programs exchange a job: proto messages are converted through it, the store
// keeps it, the trainer gets it. Strict: no peers' names. Integers may be written as text, since
// proto3's JSON writes int64 so. Values of model.config are texts, as in ModelSpec. Names and types
// are checked here, ranges and rules by Validate: an incomplete spec comes back as it was.
#pragma once

#include <nlohmann/json.hpp>

#include "common/job_spec/reader.h"

namespace trainyard {

// Every field, defaults included; lists always, an optional group only when it is there.
nlohmann::ordered_json JobSpecToJson(const JobSpec& spec);

// Only the fields that were given: what a client sends, so that the receiver's defaults hold.
nlohmann::ordered_json GivenToJson(const ParsedJob& job);

// The job with the fields that were given; missing ones have their defaults. InvalidArgument names
// field and reason ("train.lerning_rate: unknown field; did you mean learning_rate?").
StatusOr<ParsedJob> ParseJobJson(const nlohmann::ordered_json& json);
StatusOr<JobSpec> JobSpecFromJson(const nlohmann::ordered_json& json);

// model.config as Hugging Face's config.json has it: numbers and booleans again.
nlohmann::ordered_json ModelConfigJson(const JobSpec& spec);

}  // namespace trainyard
