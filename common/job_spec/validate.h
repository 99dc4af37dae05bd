// The rules a job must keep before it is accepted: each field's own, and those between fields.
#pragma once

#include <vector>

#include "common/job_spec/job_spec.h"
#include "common/status.h"

namespace trainyard {

// Every rule that `spec` breaks, at most 10, in table order; each status carries its field
// (FieldOf) and its message starts with it. Holds for a spec before and after Resolve.
std::vector<Status> FindProblems(const JobSpec& spec);

// OK, or all problems in one status, a line each, with code, reason and field of the first.
//   Unimplemented, reason KIND_NOT_BUILT   the kind is known but not built
//   InvalidArgument                        anything else
Status Validate(const JobSpec& spec);

// After the client has uploaded: every data source holds its files by digest, with well-formed
// digests. The coordinator asks this before it accepts a job.
Status ValidateUploaded(const JobSpec& spec);

}  // namespace trainyard
