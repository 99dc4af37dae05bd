#include "worker/loop/precision.h"

namespace trainyard::worker {

StatusOr<Precision> ResolvePrecision(const std::string& name, Device device,
                                     const std::vector<Choice>& choices, bool multiplies_bfloat16) {
  if (name == "fp32") return Precision::kFloat32;
  if (name == "bf16") return Precision::kBfloat16;
  if (name != "auto") {
    return WithField(InvalidArgument("train.precision is '{}'; write fp32, bf16 or auto", name),
                     kPrecisionField);
  }
  if (device == Device::kCuda) return Precision::kBfloat16;
  if (const Choice* choice = FindChoice(choices, kPrecisionField)) {
    if (choice->value == "fp32") return Precision::kFloat32;
    if (choice->value == "bf16") return Precision::kBfloat16;
    return Internal("for this job {} was chosen as '{}', which is neither fp32 nor bf16",
                    kPrecisionField, choice->value);
  }
  return multiplies_bfloat16 ? Precision::kBfloat16 : Precision::kFloat32;
}

std::string_view PrecisionName(Precision precision) {
  return precision == Precision::kBfloat16 ? "bf16" : "fp32";
}

}  // namespace trainyard::worker
