// The rotary embedding that a GGUF file's keys tell, as the fields of a Hugging Face config.
#pragma once

#include <nlohmann/json.hpp>

#include "common/status.h"
#include "worker/checkpoint/gguf.h"
#include "worker/checkpoint/gguf_fields.h"

namespace trainyard::worker {

// The value of rope_scaling, empty for an embedding that is not stretched. As llama.cpp computes
// it: a factor without a type is linear, rope.scale_linear is the factor's older name, and yarn has
// its own turns and original length where no key says otherwise. `theta` and `head_width` are the
// model's. Unimplemented for a scaling that a config cannot say.
StatusOr<nlohmann::ordered_json> RopeScalingFromGguf(const GgufFile& file, const GgufFields& fields,
                                                     double theta, int64_t head_width);

}  // namespace trainyard::worker
