// Job files in YAML 1.2 (the part of it that people write by hand). What comes in is not trusted:
// at most 1 MiB, 24 levels deep, one document, aliases counted as if written out.
#pragma once

#include <string_view>

#include "common/job_spec/reader.h"

namespace trainyard {

// InvalidArgument with up to 10 errors, one per line, each "file:line:col: field: what is wrong".
// Single fields are checked here; rules between fields are Validate's (validate.h), since `--set`
// may still change them.
StatusOr<ParsedJob> ParseJobYaml(std::string_view text, std::string_view file_name);

}  // namespace trainyard
