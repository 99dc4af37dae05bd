// The model families by Hugging Face's model_type, as far as a job file can be judged by them. The
// trainer's own table is worker/model/family.cc; a test holds the two together.
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace trainyard {

struct ModelFamily {
  std::string model_type;
  // Every token sees all others of its text: learns masked tokens, not the next one.
  bool sees_both_ways = false;
};

// Those that are built.
const std::vector<ModelFamily>& ModelFamilies();
// Null when there is none of this name.
const ModelFamily* FindModelFamily(std::string_view model_type);
// "llama, gpt2": all, or those that see both ways, or those that do not.
std::string ModelFamilyNames();
std::string ModelFamilyNames(bool sees_both_ways);

}  // namespace trainyard
