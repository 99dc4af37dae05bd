// The prepare phase of a job: a tokenizer and token shards in the BlobStore, shared by all ranks
// and by every job with the same data. They lie in prepared/<digest>/, the digest naming all that
// they are made from, so that they are found again without being made.
#pragma once

#include <string>

#include "common/status.h"
#include "worker/data/prepare.h"
#include "worker/loop/rank_context.h"
#include "worker/loop/starting_model.h"

namespace trainyard::worker {

// Rank 0 makes the files, or finds them; the others wait for the coordinator to name them. Every
// byte is checked: DataLoss names a file that is not what was prepared.
StatusOr<PreparedData> PreparePhase(const RankContext& context, const StartingModel& model);

// The digest of what the prepared files are made from: the sources' contents, formats and weights,
// and the tokenizer with the token that ends documents.
std::string PreparedDigest(const JobSpec& spec, const StartingModel& model);

}  // namespace trainyard::worker
