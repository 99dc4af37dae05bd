#include "common/job_spec/model_families.h"

namespace trainyard {
namespace {

template <class Wanted>
std::string Names(Wanted wanted) {
  std::string names;
  for (const ModelFamily& family : ModelFamilies())
    if (wanted(family)) names += (names.empty() ? "" : ", ") + family.model_type;
  return names;
}

}  // namespace

const std::vector<ModelFamily>& ModelFamilies() {
  static const std::vector<ModelFamily> families = {
      {.model_type = "llama"},
      {.model_type = "gpt2"},
      {.model_type = "mistral"},
      {.model_type = "qwen2"},
      {.model_type = "qwen3"},
      {.model_type = "gemma2"},
      {.model_type = "gemma3_text"},
      {.model_type = "bert", .sees_both_ways = true},
      {.model_type = "roberta", .sees_both_ways = true},
      {.model_type = "distilbert", .sees_both_ways = true},
  };
  return families;
}

const ModelFamily* FindModelFamily(std::string_view model_type) {
  for (const ModelFamily& family : ModelFamilies())
    if (family.model_type == model_type) return &family;
  return nullptr;
}

std::string ModelFamilyNames() {
  return Names([](const ModelFamily&) { return true; });
}

std::string ModelFamilyNames(bool sees_both_ways) {
  return Names([=](const ModelFamily& family) { return family.sees_both_ways == sees_both_ways; });
}

}  // namespace trainyard
