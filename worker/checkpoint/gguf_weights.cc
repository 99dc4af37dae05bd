#include "worker/checkpoint/gguf_weights.h"

#include <algorithm>

#include "common/require.h"
#include "worker/checkpoint/gguf_config.h"

namespace trainyard::worker {
namespace {

using enum GgufReshape;

std::optional<TensorType> PlainType(GgmlType type) {
  switch (type) {
    case GgmlType::kF32:
      return TensorType::kF32;
    case GgmlType::kF16:
      return TensorType::kF16;
    case GgmlType::kBF16:
      return TensorType::kBF16;
    default:
      return std::nullopt;
  }
}

int64_t RowValues(const GgufTensor& tensor) {
  return tensor.shape.size() < 2 ? 1 : tensor.shape.back();
}

}  // namespace

StatusOr<GgufWeights> GgufWeights::Open(const std::filesystem::path& path) {
  ASSIGN_OR_RETURN(GgufFile file, GgufFile::Open(path));
  if (const auto parts = file.metadata().Integer("split.count"); parts.ok() && *parts > 1)
    return Unimplemented("{} is one of {} parts; llama-gguf-split --merge makes one file of them",
                         path.string(), *parts);
  GgufWeights weights(std::move(file));
  StatusOr<GgufConfig> made = ConfigFromGguf(weights.file_);
  if (!made.ok()) return Annotate(made.status(), path.string());
  weights.config_ = std::move(made->config);
  weights.notes_ = std::move(made->notes);
  const std::string architecture = *weights.file_.metadata().Text("general.architecture");
  for (size_t i = 0; i < weights.file_.tensors().size(); ++i) {
    const std::string& name = weights.file_.tensors()[i].name;
    if (name == "rope_freqs.weight" && architecture == "llama") continue;  // it is in the config
    const std::optional<GgufName> known = HfNameOfGguf(architecture, name);
    if (!known.has_value())
      return InvalidArgument("{}: the architecture {} has no tensor {:?}", path.string(),
                             architecture, name);
    if (const Status added = weights.Add(i, *known); !added.ok())
      return Annotate(added, path.string());
  }
  return weights;
}

Status GgufWeights::Add(size_t entry, const GgufName& name) {
  const GgufTensor& stored = file_.tensors()[entry];
  const GgmlTypeRow& row = RowOf(stored.type);
  SourceTensor tensor{.name = name.name,
                      .shape = stored.shape,
                      .count = stored.count,
                      .stored = row.name,
                      .type = PlainType(stored.type),
                      .unit = row.block_values};
  Place place{.entry = entry, .reshape = name.reshape};
  switch (name.reshape) {
    case kNone:
      break;
    case kPlusOne:
      tensor.type = TensorType::kF32;  // the difference may need more bits than w + 1 had
      break;
    case kInterleavedQueries:
    case kInterleavedKeys: {
      place.heads = config_.value(
          name.reshape == kInterleavedQueries ? "num_attention_heads" : "num_key_value_heads",
          int64_t{0});
      if (stored.shape.empty() || place.heads < 1 || stored.shape[0] % (2 * place.heads) != 0)
        return InvalidArgument("tensor {:?} of shape [{}] is not rows of {} heads", stored.name,
                               fmt::join(stored.shape, ", "), place.heads);
      tensor.unit = RowValues(stored);
      break;
    }
    case kTransposed:
      if (stored.shape.size() != 2)
        return InvalidArgument("tensor {:?} has {} dims, not 2", stored.name, stored.shape.size());
      std::swap(tensor.shape[0], tensor.shape[1]);
      tensor.unit = stored.count;
      break;
  }
  tensors_.push_back(std::move(tensor));
  places_.push_back(place);
  return OkStatus();
}

// Row j of a head's first half is stored as its row 2j, row j of the second half as 2j + 1.
Status GgufWeights::ReadRows(const Place& place, int64_t first, std::span<float> values) const {
  const GgufTensor& stored = file_.tensors()[place.entry];
  const int64_t row_values = RowValues(stored);
  const int64_t head_rows = stored.shape[0] / place.heads, half = head_rows / 2;
  for (size_t done = 0; done < values.size(); done += static_cast<size_t>(row_values)) {
    const int64_t row = (first + static_cast<int64_t>(done)) / row_values;
    const int64_t head = row / head_rows, in_head = row % head_rows;
    const int64_t source = head * head_rows + 2 * (in_head % half) + in_head / half;
    RETURN_IF_ERROR(file_.ReadFloats(stored, source * row_values,
                                     values.subspan(done, static_cast<size_t>(row_values))));
  }
  return OkStatus();
}

Status GgufWeights::ReadTransposed(const GgufTensor& stored, std::span<float> values) const {
  REQUIRE(static_cast<int64_t>(values.size()) == stored.count);
  std::vector<float> rows(values.size());
  RETURN_IF_ERROR(file_.ReadFloats(stored, 0, rows));
  const auto out = static_cast<size_t>(stored.shape[0]), in = static_cast<size_t>(stored.shape[1]);
  for (size_t i = 0; i < in; ++i)
    for (size_t o = 0; o < out; ++o) values[i * out + o] = rows[o * in + i];
  return OkStatus();
}

Status GgufWeights::ReadFloats(size_t tensor, int64_t first, std::span<float> values) const {
  const Place& place = places_[tensor];
  const GgufTensor& stored = file_.tensors()[place.entry];
  if (place.reshape == kInterleavedQueries || place.reshape == kInterleavedKeys)
    return ReadRows(place, first, values);
  if (place.reshape == kTransposed) return ReadTransposed(stored, values);
  RETURN_IF_ERROR(file_.ReadFloats(stored, first, values));
  if (place.reshape == kPlusOne)
    for (float& value : values) value -= 1.0f;
  return OkStatus();
}

}  // namespace trainyard::worker
