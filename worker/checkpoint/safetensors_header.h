// The JSON header of a safetensors file, checked against every rule of safetensors.h.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "common/status.h"
#include "worker/checkpoint/safetensors.h"

namespace trainyard::worker {

struct SafetensorsHeader {
  std::vector<TensorEntry> tensors;  // sorted by `begin`, which counts from the data's start
  std::map<std::string, std::string> metadata;
};

// `data_bytes`: how many bytes of the file follow the header. DataLoss naming tensor and rule.
StatusOr<SafetensorsHeader> ParseSafetensorsHeader(std::string_view json, int64_t data_bytes);

}  // namespace trainyard::worker
