// Model shapes by name, as Hugging Face config.json keys in ModelSpec's text form. vocab_size is
// not among them: it comes from the tokenizer.
#pragma once

#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "common/status.h"

namespace trainyard {

struct Preset {
  std::string name;
  std::string doc;
  std::map<std::string, std::string> config;
};

const std::vector<Preset>& ModelPresets();

// InvalidArgument with the nearest name when there is none. The pointer lives as long as the
// program.
StatusOr<const Preset*> FindPreset(std::string_view name);

}  // namespace trainyard
