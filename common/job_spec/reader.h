// Understands an input tree as a job: every key is looked up in the field table, every value
// checked against its field's type and rule. Rules between fields are validate.h's.
#pragma once

#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "common/job_spec/input.h"
#include "common/job_spec/job_spec.h"
#include "common/status.h"

namespace trainyard {

inline constexpr int64_t kJobSpecVersion = 1;
inline constexpr int kMaxReportedErrors = 10;

// A job as somebody gave it, before defaults are resolved.
struct ParsedJob {
  JobSpec spec;
  // Things to tell the submitter, e.g. a peer's name that was accepted.
  std::vector<std::string> notes;
  // The fields that were given, by concrete path ("data.train[0].path"), and by what: "job file"
  // or "--set". A field that is not here has its default.
  std::map<std::string, std::string> origins;
  // Where each given field and group stands in the file.
  std::map<std::string, Position> positions;
  std::string file_name;

  // `status` with "file:line:col: " of its field (or the nearest group around it) in front.
  Status AtPosition(const Status& status) const;
};

struct ReadOptions {
  std::string file_name;  // for messages; empty: messages carry no place
  std::string origin = "job file";
  // The form programs exchange (json.h): no peers' names, numbers may be written as text, values
  // of model.config are in ModelSpec's text form, ranges are left to Validate.
  bool interchange = false;
};

// InvalidArgument with up to 10 errors, one per line: "job.yaml:12:3: train.max_steps: ...". The
// status carries the first error's field.
StatusOr<ParsedJob> ReadJob(const InputNode& root, const ReadOptions& options);

// Applies "train.max_steps=10" or "data.train[0].path=a.txt" over what was given; "[n]" one past
// the last adds an element. Peers' names are accepted. On error `job` is unchanged.
Status ApplySet(ParsedJob* job, std::string_view assignment);

}  // namespace trainyard
