#include "worker/checkpoint/model_source.h"

#include <algorithm>
#include <cstring>
#include <set>

#include "common/files.h"
#include "common/model/config_keys.h"
#include "common/model/family.h"
#include "common/require.h"
#include "worker/checkpoint/family_names.h"
#include "worker/checkpoint/float_formats.h"
#include "worker/checkpoint/strict_json.h"

namespace trainyard::worker {
namespace {

using Json = nlohmann::ordered_json;

constexpr int64_t kConfigBytesMax = int64_t{16} << 20;
constexpr int64_t kPieceValues = int64_t{1} << 18;

StatusOr<Json> ReadConfig(const std::filesystem::path& folder) {
  const std::filesystem::path path = folder / "config.json";
  ASSIGN_OR_RETURN(const std::string text, ReadFile(path, kConfigBytesMax));
  const auto checked = ParseStrictJson(text, /*depth_max=*/32);
  if (!checked.ok()) return InvalidArgument("{}: {}", path.string(), MessageOf(checked.status()));
  if (!checked->is_object() || !checked->contains("model_type") ||
      !(*checked)["model_type"].is_string())
    return InvalidArgument("{}: it must be an object with a text model_type", path.string());
  return Json::parse(text, nullptr, /*allow_exceptions=*/false);  // again, to keep its order
}

bool Ties(const Json& config, const std::string& model_type) {
  const auto ties = config.find("tie_word_embeddings");
  if (ties != config.end() && ties->is_boolean()) return ties->get<bool>();
  const StatusOr<const Family*> family = FindFamily(model_type);
  return family.ok() && (*family)->defaults.tie_embeddings;
}

// In a value that is not finite the exponent's bits are all ones: adding one at their low end
// carries into the sign's place, masked away before. Several values at a time in 64 bits, and no
// branch, so that looking costs little beside reading.
struct Exponent {
  int64_t value_bytes;
  uint64_t mask;   // the exponent's bits, in every value of 64 bits
  uint64_t one;    // its lowest bit
  uint64_t carry;  // the sign's place
};
Exponent ExponentOf(TensorType type) {
  if (type == TensorType::kF32)
    return {4, 0x7F8000007F800000, 0x0080000000800000, 0x8000000080000000};
  if (type == TensorType::kF16)
    return {2, 0x7C007C007C007C00, 0x0400040004000400, 0x8000800080008000};
  return {2, 0x7F807F807F807F80, 0x0080008000800080, 0x8000800080008000};
}

// The first value that is not finite, or -1. Whole values.
int64_t FindNotFinite(TensorType type, std::span<const std::byte> bytes) {
  const Exponent exponent = ExponentOf(type);
  uint64_t carries = 0;
  const size_t words = bytes.size() / 8;
  for (size_t i = 0; i < words; ++i) {
    uint64_t word;
    std::memcpy(&word, bytes.data() + 8 * i, 8);
    carries |= (word & exponent.mask) + exponent.one;
  }
  const auto carries_in = [&](uint64_t word) {
    return (((word & exponent.mask) + exponent.one) & exponent.carry) != 0;
  };
  const size_t size = static_cast<size_t>(exponent.value_bytes);
  const size_t begin = (carries & exponent.carry) != 0 ? 0 : 8 * words;
  for (size_t at = begin; at < bytes.size(); at += size) {
    uint64_t value = 0;
    std::memcpy(&value, bytes.data() + at, size);
    if (carries_in(value)) return static_cast<int64_t>(at / size);
  }
  return -1;
}

// Loses nothing: the values came from that type.
void Narrow(TensorType type, std::span<const float> values, std::vector<uint16_t>* narrow) {
  narrow->resize(values.size());
  std::transform(values.begin(), values.end(), narrow->begin(),
                 type == TensorType::kF16 ? &Float16FromFloat : &Bfloat16FromFloat);
}

template <class T>
std::string_view Text(std::span<const T> values) {
  return {reinterpret_cast<const char*>(values.data()), values.size_bytes()};
}

}  // namespace

ModelSource::ModelSource(std::filesystem::path path, Json config,
                         std::variant<HfWeights, GgufWeights> weights)
    : path_(std::move(path)), config_(std::move(config)), weights_(std::move(weights)) {
  for (size_t i = 0; i < tensors().size(); ++i) index_[tensors()[i].name] = i;
}

StatusOr<ModelSource> ModelSource::Open(const std::filesystem::path& ref) {
  std::error_code error;
  if (!std::filesystem::exists(ref, error)) return NotFound("{} does not exist", ref.string());
  if (!std::filesystem::is_directory(ref, error)) {
    ASSIGN_OR_RETURN(GgufWeights weights, GgufWeights::Open(ref));
    Json config = weights.config();
    return ModelSource(ref, std::move(config), std::move(weights));
  }
  ASSIGN_OR_RETURN(Json config, ReadConfig(ref));
  const auto model_type = config["model_type"].get<std::string>();
  ASSIGN_OR_RETURN(HfWeights weights, HfWeights::Open(ref, model_type, Ties(config, model_type)));
  return ModelSource(ref, std::move(config), std::move(weights));
}

std::string ModelSource::model_type() const { return config_.at("model_type").get<std::string>(); }

std::vector<std::string> ModelSource::Notes(bool trains) const {
  std::vector<std::string> notes;
  const auto* folder = std::get_if<HfWeights>(&weights_);
  if (folder == nullptr) return std::get<GgufWeights>(weights_).notes();
  for (const std::string& note : ConfigNotes(nlohmann::json(config_), trains))
    notes.push_back("config.json: " + note);
  notes.insert(notes.end(), folder->notes().begin(), folder->notes().end());
  return notes;
}

const std::vector<SourceTensor>& ModelSource::tensors() const {
  return std::visit(
      [](const auto& weights) -> const std::vector<SourceTensor>& { return weights.tensors(); },
      weights_);
}

const SourceTensor* ModelSource::Find(std::string_view name) const {
  const auto found = index_.find(name);
  return found == index_.end() ? nullptr : &tensors()[found->second];
}

Status ModelSource::MatchTensors(std::span<const NamedShape> wanted) const {
  std::set<std::string_view> names;
  for (const NamedShape& one : wanted) {
    const SourceTensor* tensor = Find(one.name);
    if (tensor == nullptr)
      return InvalidArgument("{} has no tensor {:?}", path_.string(), one.name);
    if (tensor->shape != one.shape)
      return InvalidArgument("{}: tensor {:?} has shape [{}], the model needs [{}]", path_.string(),
                             one.name, fmt::join(tensor->shape, ", "), fmt::join(one.shape, ", "));
    names.insert(one.name);
  }
  for (const SourceTensor& tensor : tensors())
    if (tensor.is_trained && !names.contains(tensor.name))
      return InvalidArgument("{} has a tensor {:?} that the model has not", path_.string(),
                             tensor.name);
  return OkStatus();
}

const GgufFile* ModelSource::gguf() const {
  const auto* weights = std::get_if<GgufWeights>(&weights_);
  return weights == nullptr ? nullptr : &weights->file();
}

size_t ModelSource::PlaceOf(const SourceTensor& tensor) const {
  const ptrdiff_t place = &tensor - tensors().data();
  REQUIRE(place >= 0 && place < static_cast<ptrdiff_t>(tensors().size()));
  return static_cast<size_t>(place);
}

const std::filesystem::path& ModelSource::FileOf(const SourceTensor& tensor) const {
  if (const auto* folder = std::get_if<HfWeights>(&weights_))
    return folder->PathOf(PlaceOf(tensor));
  return path_;
}

Status ModelSource::ReadFloats(const SourceTensor& tensor, int64_t first,
                               std::span<float> values) const {
  REQUIRE(first % tensor.unit == 0 && static_cast<int64_t>(values.size()) % tensor.unit == 0);
  const size_t place = PlaceOf(tensor);
  RETURN_IF_ERROR(std::visit(
      [&](const auto& weights) { return weights.ReadFloats(place, first, values); }, weights_));
  const int64_t bad = FindNotFinite(TensorType::kF32, std::as_bytes(values));
  if (bad < 0) return OkStatus();
  return DataLoss("{}: value {} of tensor {:?} is {}; weights must be finite",
                  FileOf(tensor).string(), first + bad, tensor.name,
                  values[static_cast<size_t>(bad)]);
}

Status ModelSource::VisitFloats(const SourceTensor& tensor,
                                const std::function<Status(std::span<const float>)>& visit) const {
  const int64_t piece = std::max(kPieceValues / tensor.unit, int64_t{1}) * tensor.unit;
  std::vector<float> values;
  for (int64_t done = 0; done < tensor.count; done += piece) {
    values.resize(static_cast<size_t>(std::min(piece, tensor.count - done)));
    RETURN_IF_ERROR(ReadFloats(tensor, done, values));
    RETURN_IF_ERROR(visit(values));
  }
  return OkStatus();
}

Status ModelSource::VisitBytes(const SourceTensor& tensor,
                               const std::function<Status(std::string_view)>& visit) const {
  REQUIRE(tensor.type.has_value());
  const auto* folder = std::get_if<HfWeights>(&weights_);
  if (folder == nullptr) {
    std::vector<uint16_t> narrow;
    return VisitFloats(tensor, [&](std::span<const float> values) {
      if (*tensor.type == TensorType::kF32) return visit(Text(values));
      Narrow(*tensor.type, values, &narrow);
      return visit(Text(std::span<const uint16_t>(narrow)));
    });
  }
  const int64_t size = SizeOf(*tensor.type), bytes = tensor.count * size;
  std::vector<std::byte> piece(static_cast<size_t>(std::min(bytes, 4 * kPieceValues)));
  for (int64_t done = 0; done < bytes; done += static_cast<int64_t>(piece.size())) {
    piece.resize(static_cast<size_t>(std::min(4 * kPieceValues, bytes - done)));
    RETURN_IF_ERROR(folder->ReadBytes(PlaceOf(tensor), done, piece));
    if (const int64_t bad = FindNotFinite(*tensor.type, piece); bad >= 0)
      return DataLoss("{}: value {} of tensor {:?} is not finite; weights must be",
                      FileOf(tensor).string(), done / size + bad, tensor.name);
    RETURN_IF_ERROR(visit(Text(std::span<const std::byte>(piece))));
  }
  return OkStatus();
}

}  // namespace trainyard::worker
