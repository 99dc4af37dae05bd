#include "worker/checkpoint/hf_weights.h"

#include <algorithm>

#include "worker/checkpoint/family_names.h"
#include "worker/checkpoint/shards.h"

namespace trainyard::worker {

const std::filesystem::path& HfWeights::PathOf(size_t tensor) const {
  return files_[places_[tensor].file].path();
}

Status HfWeights::ReadFloats(size_t tensor, int64_t first, std::span<float> values) const {
  const Place& place = places_[tensor];
  return files_[place.file].ReadFloats(EntryOf(place), first, values);
}

Status HfWeights::ReadBytes(size_t tensor, int64_t offset, std::span<std::byte> bytes) const {
  const Place& place = places_[tensor];
  return files_[place.file].ReadBytes(EntryOf(place), offset, bytes);
}

Status HfWeights::Add(const Place& place, std::string name, bool is_trained) {
  const TensorEntry& entry = EntryOf(place);
  const std::string path = files_[place.file].path().string();
  if (entry.type != TensorType::kF32 && entry.type != TensorType::kF16 &&
      entry.type != TensorType::kBF16)
    return InvalidArgument("{}: tensor {:?} is {}; weights are F32, F16 or BF16", path, entry.name,
                           NameOf(entry.type));
  if (!index_.emplace(name, tensors_.size()).second)
    return InvalidArgument("{}: tensor {:?} is a second {:?}", path, entry.name, name);
  tensors_.push_back({.name = std::move(name),
                      .shape = entry.shape,
                      .count = entry.count,
                      .is_trained = is_trained,
                      .stored = NameOf(entry.type),
                      .type = entry.type});
  places_.push_back(place);
  return OkStatus();
}

Status HfWeights::CheckCopy(const Place& copy, size_t original) const {
  constexpr int64_t kPieceValues = int64_t{1} << 18;
  const TensorEntry& entry = EntryOf(copy);
  const std::string path = files_[copy.file].path().string();
  if (entry.shape != tensors_[original].shape)
    return InvalidArgument(
        "{}: tensor {:?} has shape [{}], but config.json ties it to {:?}, which has [{}]", path,
        entry.name, fmt::join(entry.shape, ", "), tensors_[original].name,
        fmt::join(tensors_[original].shape, ", "));
  std::vector<float> ours, theirs;
  for (int64_t done = 0; done < entry.count; done += kPieceValues) {
    ours.resize(static_cast<size_t>(std::min(kPieceValues, entry.count - done)));
    theirs.resize(ours.size());
    RETURN_IF_ERROR(files_[copy.file].ReadFloats(entry, done, ours));
    RETURN_IF_ERROR(ReadFloats(original, done, theirs));
    if (ours != theirs)
      return InvalidArgument(
          "{}: tensor {:?} differs from {:?}, to which config.json ties it; say "
          "tie_word_embeddings: false if it is a head of its own",
          path, entry.name, tensors_[original].name);
  }
  return OkStatus();
}

StatusOr<HfWeights> HfWeights::Open(const std::filesystem::path& folder,
                                    std::string_view model_type, bool ties) {
  HfWeights weights;
  ASSIGN_OR_RETURN(Shards shards, OpenShards(folder));
  weights.files_ = std::move(shards.files);
  weights.notes_ = std::move(shards.notes);
  std::vector<std::pair<Place, std::string>> copies;  // and what they repeat
  for (size_t f = 0; f < weights.files_.size(); ++f) {
    for (size_t e = 0; e < weights.files_[f].tensors().size(); ++e) {
      const Place place{f, e};
      const auto canonical = CanonicalTensorName(model_type, weights.EntryOf(place).name);
      if (canonical.role == TensorRole::kBuffer) continue;
      if (canonical.role == TensorRole::kTied && ties) {
        copies.emplace_back(place, canonical.tied_to);
        continue;
      }
      RETURN_IF_ERROR(weights.Add(place, canonical.name, canonical.role != TensorRole::kUnused));
    }
  }
  for (const auto& [place, name] : copies) {
    const auto original = weights.index_.find(name);
    if (original == weights.index_.end())  // the copy is all there is
      RETURN_IF_ERROR(weights.Add(place, name, /*is_trained=*/true));
    else
      RETURN_IF_ERROR(weights.CheckCopy(place, original->second));
  }
  return weights;
}

}  // namespace trainyard::worker
