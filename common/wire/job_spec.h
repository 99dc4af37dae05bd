// The job spec between its C++ form and proto, by way of the one JSON form that the field table
// drives (common/job_spec/json.h): proto, YAML and JSON cannot drift apart.
#pragma once

#include "common/job_spec/reader.h"
#include "common/status.h"
#include "trainyard/v1/job.pb.h"

namespace trainyard {

// Every field, defaults written out: what the coordinator shows.
StatusOr<v1::JobSpec> ToProto(const JobSpec& spec);
// Only what was given: what a client sends, so that the coordinator's defaults hold.
StatusOr<v1::JobSpec> GivenToProto(const ParsedJob& job);
// InvalidArgument naming the field. Unset fields have their defaults.
StatusOr<ParsedJob> FromProto(const v1::JobSpec& proto);

}  // namespace trainyard
