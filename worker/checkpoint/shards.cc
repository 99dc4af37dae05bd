#include "worker/checkpoint/shards.h"

#include <map>
#include <optional>
#include <string>

#include "common/files.h"
#include "worker/checkpoint/strict_json.h"

namespace trainyard::worker {
namespace {

using nlohmann::json;

constexpr char kSingle[] = "model.safetensors";
constexpr char kIndex[] = "model.safetensors.index.json";
constexpr int64_t kIndexBytesMax = int64_t{64} << 20;
constexpr size_t kShardsMax = 1024;

struct ShardIndex {
  std::map<std::string, std::string> shard_of_tensor;
  json document;
};

Status CheckShardName(const std::string& name) {
  const bool is_plain = name.find('/') == std::string::npos && name[0] != '.';
  if (is_plain && name.ends_with(".safetensors")) return OkStatus();
  return DataLoss("the shard {:?} is not the plain name of a .safetensors file", name);
}

// What the index says of the bytes in all, when it does not say the tensors'.
std::optional<std::string> NoteOnTotalSize(const json& document, int64_t tensor_bytes) {
  const auto metadata = document.find("metadata");
  if (metadata == document.end() || !metadata->is_object()) return std::nullopt;
  const auto size = metadata->find("total_size");
  // Some writers write it as a float, which compares as a number.
  if (size == metadata->end() || *size == tensor_bytes) return std::nullopt;
  return fmt::format("metadata.total_size is {}, the shards' tensors have {} bytes; it is not used",
                     size->dump(), tensor_bytes);
}

StatusOr<ShardIndex> ParseIndex(const std::string& text) {
  ShardIndex index;
  ASSIGN_OR_RETURN(index.document, ParseStrictJson(text, /*depth_max=*/4));
  const json& document = index.document;
  const auto map = document.is_object() ? document.find("weight_map") : document.end();
  if (map == document.end() || !map->is_object() || map->empty())
    return DataLoss("there is no weight_map");
  for (const auto& [tensor, shard] : map->items()) {
    if (!shard.is_string() || shard.get_ref<const std::string&>().empty())
      return DataLoss("the shard of tensor {:?} is not a name", tensor);
    RETURN_IF_ERROR(CheckShardName(shard.get_ref<const std::string&>()));
    index.shard_of_tensor[tensor] = shard.get<std::string>();
  }
  return index;
}

// That the files hold what the index says, no less and no more.
Status CheckShards(const std::map<std::string, SafetensorsFile>& files, const ShardIndex& index) {
  for (const auto& [name, file] : files) {
    for (const TensorEntry& tensor : file.tensors()) {
      const auto place = index.shard_of_tensor.find(tensor.name);
      if (place == index.shard_of_tensor.end())
        return DataLoss("{} holds tensor {:?}, which the index does not name", file.path().string(),
                        tensor.name);
      if (place->second != name)
        return DataLoss("{} holds tensor {:?}, which the index puts into {}", file.path().string(),
                        tensor.name, place->second);
    }
  }
  for (const auto& [tensor, shard] : index.shard_of_tensor)
    if (files.at(shard).Find(tensor) == nullptr)
      return DataLoss("the index puts tensor {:?} into {}, which does not hold it", tensor, shard);
  return OkStatus();
}

StatusOr<Shards> OpenIndexed(const std::filesystem::path& folder) {
  ASSIGN_OR_RETURN(const std::string text, ReadFile(folder / kIndex, kIndexBytesMax));
  StatusOr<ShardIndex> index = ParseIndex(text);
  if (!index.ok()) return Annotate(index.status(), (folder / kIndex).string());
  std::map<std::string, SafetensorsFile> files;
  for (const auto& [tensor, shard] : index->shard_of_tensor) {
    if (files.contains(shard)) continue;
    if (files.size() == kShardsMax)
      return DataLoss("{}: more than {} shards", (folder / kIndex).string(), kShardsMax);
    ASSIGN_OR_RETURN(SafetensorsFile file, SafetensorsFile::Open(folder / shard));
    files.emplace(shard, std::move(file));
  }
  if (const Status agree = CheckShards(files, *index); !agree.ok())
    return Annotate(agree, (folder / kIndex).string());
  Shards shards;
  int64_t tensor_bytes = 0;
  for (auto& [name, file] : files) {
    for (const TensorEntry& tensor : file.tensors()) tensor_bytes += tensor.bytes;
    shards.files.push_back(std::move(file));
  }
  if (const auto note = NoteOnTotalSize(index->document, tensor_bytes); note.has_value())
    shards.notes.push_back(fmt::format("{}: {}", kIndex, *note));
  return shards;
}

}  // namespace

StatusOr<Shards> OpenShards(const std::filesystem::path& folder) {
  std::error_code error;
  if (std::filesystem::exists(folder / kSingle, error)) {
    ASSIGN_OR_RETURN(SafetensorsFile file, SafetensorsFile::Open(folder / kSingle));
    Shards shards;
    shards.files.push_back(std::move(file));
    return shards;
  }
  if (std::filesystem::exists(folder / kIndex, error)) return OpenIndexed(folder);
  for (const char* pickled : {"pytorch_model.bin", "pytorch_model.bin.index.json"})
    if (std::filesystem::exists(folder / pickled, error))
      return NotFound(
          "{} holds {}, a pickle, which can run code and is not read; save the model with "
          "transformers' save_pretrained, which writes safetensors",
          folder.string(), pickled);
  return NotFound("{} holds neither {} nor {}", folder.string(), kSingle, kIndex);
}

}  // namespace trainyard::worker
