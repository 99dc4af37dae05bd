// OpenPrepared of prepare.h: nothing in the folder is believed before it is checked.
#include <nlohmann/json.hpp>
#include <utility>

#include "common/files.h"
#include "worker/data/prepare.h"

namespace trainyard::worker {
namespace {

using Json = nlohmann::json;

constexpr int64_t kManifestBytesMax = int64_t{64} << 20;
constexpr int64_t kTokenizerBytesMax = int64_t{256} << 20;

// A file's name is just that: it leads nowhere else.
bool IsPlainName(const std::string& name) {
  return !name.empty() && name.find('/') == std::string::npos && name != "." && name != "..";
}

StatusOr<std::shared_ptr<const TokenShard>> OpenShard(const std::filesystem::path& folder,
                                                      const Json& file,
                                                      const std::string& tokenizer_sha256) {
  const std::string name = file.at("name");
  if (!IsPlainName(name)) return DataLoss("{}: \"{}\" is no file name", kManifestName, name);
  ASSIGN_OR_RETURN(auto shard, TokenShard::Open(folder / name));
  if (shard->tokenizer_sha256() != tokenizer_sha256)
    return DataLoss("{} was made with another tokenizer than the one beside it", name);
  if (shard->content_sha256() != file.at("content_sha256").get<std::string>())
    return DataLoss("{} holds other data than {} says; prepare the data again", name,
                    kManifestName);
  return shard;
}

// Throws nlohmann's exceptions where the manifest is not of the expected shape.
StatusOr<PreparedData> OpenAll(const std::filesystem::path& folder, const Json& manifest) {
  if (const int64_t version = manifest.at("version"); version != 1)
    return DataLoss("{} is of version {}, this program reads 1", kManifestName, version);
  PreparedData data;
  const std::string sha256 = manifest.at("tokenizer").at("sha256");
  ASSIGN_OR_RETURN(const std::string json, ReadFile(folder / "tokenizer.json", kTokenizerBytesMax));
  if (Sha256(json) != sha256)
    return DataLoss("{}: its contents are not what {} says; prepare the data again",
                    (folder / "tokenizer.json").string(), kManifestName);
  ASSIGN_OR_RETURN(Tokenizer tokenizer, Tokenizer::Load(json));
  data.end_of_text = manifest.at("tokenizer").at("end_of_text");
  data.tokenizer = std::make_shared<const Tokenizer>(std::move(tokenizer));
  for (const Json& source : manifest.at("train")) {
    LoaderSource opened{.shards = {}, .weight = source.at("weight")};
    for (const Json& file : source.at("files")) {
      ASSIGN_OR_RETURN(auto shard, OpenShard(folder, file, sha256));
      opened.shards.push_back(std::move(shard));
    }
    data.train.push_back(std::move(opened));
  }
  for (const Json& source : manifest.at("validation")) {
    for (const Json& file : source.at("files")) {
      ASSIGN_OR_RETURN(auto shard, OpenShard(folder, file, sha256));
      data.validation.push_back(std::move(shard));
    }
  }
  return data;
}

}  // namespace

StatusOr<PreparedData> OpenPrepared(const std::filesystem::path& folder) {
  ASSIGN_OR_RETURN(const std::string text, ReadFile(folder / kManifestName, kManifestBytesMax));
  try {
    ASSIGN_OR_RETURN(PreparedData data, OpenAll(folder, Json::parse(text)));
    data.manifest_sha256 = Sha256(text);
    return data;
  } catch (const Json::exception& error) {
    return DataLoss("{} is damaged ({}); prepare the data again", (folder / kManifestName).string(),
                    error.what());
  }
}

}  // namespace trainyard::worker
