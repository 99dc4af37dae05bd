// The number format that a model which only answers is opened in.
#pragma once

#include "common/model/config.h"
#include "common/plan/number_format.h"
#include "common/status.h"
#include "worker/engine/engine.h"
#include "worker/tool/tools.h"

namespace trainyard::worker {

// Seconds that a use takes at the rates of reading and of decoding, as one rate per format.
plan::Rates RatesOfUse(const OpenOptions::Use& use, const plan::Rates& reading,
                       const plan::Rates& decoding);

// As options.precision says; of "auto" the faster one for options.use, measured here once and kept
// in the user's home (common/plan/kept_paces.h), which is said on stderr with the rates.
Precision AnswerFormat(const ModelConfig& config, const OpenOptions& options);

}  // namespace trainyard::worker
