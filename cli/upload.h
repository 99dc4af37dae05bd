// Datasets go up before a job is created: only what the coordinator does not have yet, named by
// digest, taken up where an interrupted upload stopped.
#pragma once

#include "cli/client.h"
#include "common/job_spec/reader.h"

namespace trainyard::cli {

// Replaces each source's path (a file or glob, relative to the working directory) by the digests of
// its files, and uploads what is missing. Progress goes to stderr unless `quiet`.
//   NotFound         a path matches no file
//   InvalidArgument  a file is empty
Status UploadDatasets(Client& client, ParsedJob& job, bool quiet);

// The same without a coordinator: paths become digests.
Status DigestDatasets(ParsedJob& job);

}  // namespace trainyard::cli
