// What a job makes of its tokenizer: how rows are masked, and what checkpoints say of it.
#pragma once

#include <optional>

#include "common/job_spec/job_spec.h"
#include "common/status.h"
#include "worker/checkpoint/model_folder.h"
#include "worker/data/masking.h"
#include "worker/data/prepare.h"
#include "worker/loop/starting_model.h"
#include "worker/text/tokenizer.h"

namespace trainyard::worker {

// Nothing but for objective masked. InvalidArgument with the field at fault when the tokenizer
// cannot serve a masked model.
StatusOr<std::optional<Masking>> MaskingOfJob(const JobSpec& spec, const Tokenizer& tokenizer);

// The tokenizer of a job's checkpoints. `masking` null: the end of text begins, ends and pads,
// unless the model that the job goes on from says otherwise. Else the special tokens of a masked
// model, as transformers' tokenizer_config.json names them: [CLS], [SEP], [MASK], [PAD] and [UNK],
// or <s>, </s>, <mask>, <pad> and <unk>; what the tokenizer does not have is left out, and the end
// of text pads where nothing else does.
StatusOr<TokenizerContents> TokenizerOfCheckpoint(const JobSpec& spec, const PreparedData& data,
                                                  const StartingModel& model,
                                                  const Masking* masking);

}  // namespace trainyard::worker
