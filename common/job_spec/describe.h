// A job and the field table, for people.
#pragma once

#include <string>

#include "common/job_spec/resolve.h"

namespace trainyard {

// One line per leaf: "train.learning_rate  0.003  job file", columns aligned; empty texts are "-".
// The files of a source take one line together.
std::string FormatResolved(const ResolvedSpec& resolved);

// The whole field table as Markdown: docs/job-file.md is this text (a test compares them).
std::string FieldTableMarkdown();

}  // namespace trainyard
