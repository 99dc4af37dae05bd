#include "worker/checkpoint/gguf_rope_config.h"

#include <cmath>
#include <vector>

#include "worker/checkpoint/gguf_rope.h"

namespace trainyard::worker {
namespace {

using Json = nlohmann::ordered_json;

// llama.cpp takes 0 for "not said", and what is not said for 1.
StatusOr<double> Factor(const GgufFields& fields) {
  const char* key = fields.Has("rope.scaling.factor") ? "rope.scaling.factor" : "rope.scale_linear";
  ASSIGN_OR_RETURN(const double factor, fields.Real(key, 1.0));
  if (!(factor >= 0) || !std::isfinite(factor))
    return InvalidArgument("{} is {}; a scaling is above 0", fields.Whole(key), factor);
  return factor == 0 ? 1.0 : factor;
}

// What the factor alone makes of the cosines and sines (Peng et al. 2023, section 3.4).
double YarnTemperature(double factor) { return factor <= 1 ? 1.0 : 0.1 * std::log(factor) + 1.0; }

// Peng et al. 2023, arXiv:2309.00071.
StatusOr<Json> Yarn(const GgufFields& fields, double factor, double attention_factor) {
  Json scaling = {{"rope_type", "yarn"}, {"factor", factor}};
  ASSIGN_OR_RETURN(const int64_t positions, fields.Int("context_length"));
  ASSIGN_OR_RETURN(scaling["original_max_position_embeddings"],
                   fields.Int("rope.scaling.original_context_length", positions));
  if (attention_factor != 1)
    scaling["attention_factor"] = attention_factor * YarnTemperature(factor);
  return scaling;
}

StatusOr<Json> Llama3(const GgufFile& file, const GgufTensor& tensor, double theta) {
  std::vector<float> factors(static_cast<size_t>(tensor.count));
  RETURN_IF_ERROR(file.ReadFloats(tensor, 0, factors));
  ASSIGN_OR_RETURN(const Llama3Rope rope, FitLlama3Rope(factors, theta));
  return Json{{"rope_type", "llama3"},
              {"factor", rope.factor},
              {"low_freq_factor", rope.low_freq_factor},
              {"high_freq_factor", rope.high_freq_factor},
              {"original_max_position_embeddings", rope.original_max_positions}};
}

}  // namespace

StatusOr<Json> RopeScalingFromGguf(const GgufFile& file, const GgufFields& fields, double theta,
                                   int64_t head_width) {
  ASSIGN_OR_RETURN(const std::string type, fields.Text("rope.scaling.type", "linear"));
  if (type != "none" && type != "linear" && type != "yarn")
    return Unimplemented("{} is {:?}; none, linear and yarn are read",
                         fields.Whole("rope.scaling.type"), type);
  ASSIGN_OR_RETURN(double factor, Factor(fields));
  if (type == "none") factor = 1;
  ASSIGN_OR_RETURN(const double attention_factor, fields.Real("rope.scaling.attn_factor", 1.0));
  const bool is_stretched = type == "yarn" ? factor != 1 || attention_factor != 1 : factor != 1;
  if (const GgufTensor* tensor = file.Find("rope_freqs.weight"); tensor != nullptr) {
    if (is_stretched || attention_factor != 1 || tensor->count != head_width / 2)
      return InvalidArgument(
          "tensor \"rope_freqs.weight\" has {} values beside a scaling of type {:?}; {} values and "
          "no other scaling belong together",
          tensor->count, type, head_width / 2);
    return Llama3(file, *tensor, theta);
  }
  if (type == "yarn" && is_stretched) return Yarn(fields, factor, attention_factor);
  if (attention_factor != 1) {
    // Yarn by a factor of 1 turns as no scaling does.
    if (!is_stretched) return Yarn(fields, 1, attention_factor);
    return Unimplemented("{} is {} beside a linear scaling; it is read beside yarn",
                         fields.Whole("rope.scaling.attn_factor"), attention_factor);
  }
  return is_stretched ? Json{{"rope_type", "linear"}, {"factor", factor}} : Json();
}

}  // namespace trainyard::worker
