#include "worker/checkpoint/gguf_fields.h"

#include <algorithm>
#include <cstdlib>
#include <vector>

namespace trainyard::worker {

StatusOr<int64_t> GgufFields::IntOfLayers(std::string_view key, int64_t layers) const {
  const GgufValue* value = Find(key);
  if (value == nullptr || value->type != GgufValueType::kList) return Int(key);
  ASSIGN_OR_RETURN(const std::vector<int64_t> numbers, metadata_.Integers(Whole(key)));
  if (std::ssize(numbers) != layers || numbers.empty())
    return InvalidArgument("{} has {} numbers for {} layers", Whole(key), numbers.size(), layers);
  const auto other = std::find_if(numbers.begin(), numbers.end(),
                                  [&](int64_t number) { return number != numbers[0]; });
  if (other == numbers.end()) return numbers[0];
  return Unimplemented("{} is {} in layer 0 but {} in layer {}; all layers must have the same",
                       Whole(key), numbers[0], *other, other - numbers.begin());
}

StatusOr<double> GgufFields::Real(std::string_view key) const {
  ASSIGN_OR_RETURN(const double value, metadata_.Real(Whole(key)));
  if (Find(key)->type != GgufValueType::kFloat32) return value;
  return std::strtod(fmt::format("{}", static_cast<float>(value)).c_str(), nullptr);
}

}  // namespace trainyard::worker
