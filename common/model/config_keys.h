// What becomes of each key of a config.json: a table per family, checked against the installed
// transformers by tests/golden/test_config_keys.py.
#pragma once

#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "common/model/family.h"
#include "common/status.h"

namespace trainyard {

enum class KeyUse {
  kRead,     // by ModelConfigFromJson
  kInert,    // changes nothing of what the model computes
  kDropout,  // changes nothing but training in transformers; there is no dropout here
  kNeutral,  // read by transformers, and refused unless it is null or has its neutral value
};

struct ConfigKey {
  std::string name;
  KeyUse use = KeyUse::kInert;
  nlohmann::json neutral = {};
};

// Every key of the family that is known.
std::vector<ConfigKey> ConfigKeysOf(const Family& family);

// InvalidArgument naming a key that changes the model in a way that is not built.
Status CheckConfigKeys(const nlohmann::json& config, const Family& family);

// What a user of such a config.json should know: keys that are not read, keys of which one counts
// before another, defaults that stand for what is missing. Sentences, without the file's name.
// `trains`: also what training here leaves out. Nothing for a config that is not valid.
std::vector<std::string> ConfigNotes(const nlohmann::json& config, bool trains);

}  // namespace trainyard
