#include "common/checkpoint_manifest.h"

#include <algorithm>
#include <nlohmann/json.hpp>
#include <set>
#include <system_error>

#include "common/blob_store.h"
#include "common/file_pieces.h"
#include "common/files.h"

namespace trainyard {
namespace {

using nlohmann::json;
using nlohmann::ordered_json;

constexpr int64_t kMaxManifestBytes = int64_t{16} << 20;

bool IsSha256(const std::string& text) {
  return text.size() == 64 && text.find_first_not_of("0123456789abcdef") == std::string::npos;
}

// The value under `key`, of the same kind as `out`.
template <class T>
Status Take(const json& object, const char* key, T* out) {
  const auto found = object.find(key);
  const bool fits =
      found != object.end() &&
      (std::is_same_v<T, std::string> ? found->is_string() : found->is_number_unsigned());
  if (!fits) return DataLoss("{} is missing or of the wrong kind", key);
  found->get_to(*out);
  return OkStatus();
}

StatusOr<ManifestFile> ParseFile(const json& entry) {
  if (!entry.is_object()) return DataLoss("an entry of files is not an object");
  ManifestFile file;
  RETURN_IF_ERROR(Take(entry, "path", &file.path));
  RETURN_IF_ERROR(Take(entry, "sha256", &file.sha256));
  RETURN_IF_ERROR(Take(entry, "size", &file.size));
  if (!CheckBlobKey(file.path).ok() || file.path == CheckpointManifest::kPath)
    return DataLoss("{:?} is not a path a checkpoint can hold", file.path);
  if (!IsSha256(file.sha256) || file.size < 0)
    return DataLoss("hash or size of {} is malformed", file.path);
  return file;
}

StatusOr<CheckpointManifest> ParseManifest(const std::string& text) {
  const json document = json::parse(text, nullptr, /*allow_exceptions=*/false);
  if (!document.is_object()) return DataLoss("it is not a JSON object");
  int version = 0;
  RETURN_IF_ERROR(Take(document, "version", &version));
  if (version != CheckpointManifest::kVersion)
    return FailedPrecondition("it has version {}, this program knows {}", version,
                              CheckpointManifest::kVersion);
  CheckpointManifest manifest;
  RETURN_IF_ERROR(Take(document, "job", &manifest.job));
  RETURN_IF_ERROR(Take(document, "attempt", &manifest.attempt));
  RETURN_IF_ERROR(Take(document, "step", &manifest.step));
  if (!document.contains("files") || !document["files"].is_array())
    return DataLoss("files is missing or not a list");
  std::set<std::string> paths;
  for (const json& entry : document["files"]) {
    ASSIGN_OR_RETURN(ManifestFile file, ParseFile(entry));
    if (!paths.insert(file.path).second) return DataLoss("{} is listed twice", file.path);
    manifest.files.push_back(std::move(file));
  }
  return manifest;
}

// `piece` is told the size of each piece read.
Status VerifyFile(const std::filesystem::path& folder, const ManifestFile& file,
                  const std::function<Status(size_t bytes)>& piece) {
  const std::filesystem::path path = folder / file.path;
  std::error_code error;
  if (std::filesystem::symlink_status(path, error).type() != std::filesystem::file_type::regular)
    return DataLoss("checkpoint {}: {} is missing or not a plain file", folder.string(), file.path);
  const auto size = static_cast<int64_t>(std::filesystem::file_size(path, error));
  if (error || size != file.size)
    return DataLoss("checkpoint {}: {} has {} bytes, its manifest says {}", folder.string(),
                    file.path, size, file.size);
  Sha256Stream stream;
  RETURN_IF_ERROR(ForEachPiece(path, [&](std::string_view bytes) {
    stream.Add(bytes);
    return piece(bytes.size());
  }));
  const std::string sha256 = stream.Finish();
  if (sha256 != file.sha256)
    return DataLoss("checkpoint {}: {} was changed: its SHA-256 is {}, its manifest says {}",
                    folder.string(), file.path, sha256, file.sha256);
  return OkStatus();
}

// Something a loader could pick up although nobody vouched for it.
Status RefuseStrangers(const std::filesystem::path& folder, const CheckpointManifest& manifest) {
  std::set<std::string> known = {CheckpointManifest::kPath};
  for (const ManifestFile& file : manifest.files) known.insert(file.path);
  std::error_code error;
  std::filesystem::recursive_directory_iterator entry(folder, error), end;
  for (; !error && entry != end; entry.increment(error)) {
    if (entry->is_directory(error) && !entry->is_symlink(error)) continue;
    const std::string path = entry->path().lexically_relative(folder).string();
    if (!known.contains(path))
      return DataLoss("checkpoint {}: {} is not in its manifest", folder.string(), path);
  }
  if (error) return ErrnoStatus(error.value(), fmt::format("cannot list {}", folder.string()));
  return OkStatus();
}

}  // namespace

int64_t CheckpointManifest::total_bytes() const {
  int64_t total = 0;
  for (const ManifestFile& file : files) total += file.size;
  return total;
}

std::string CheckpointFolderName(int64_t step, AttemptNumber attempt) {
  return fmt::format("step-{:08}-a{}", step, attempt);
}

StatusOr<std::string> WriteManifest(const std::filesystem::path& folder,
                                    const CheckpointManifest& manifest) {
  ordered_json document = {{"version", CheckpointManifest::kVersion},
                           {"job", manifest.job},
                           {"attempt", manifest.attempt},
                           {"step", manifest.step},
                           {"files", ordered_json::array()}};
  for (const ManifestFile& file : manifest.files)
    document["files"].push_back(
        {{"path", file.path}, {"sha256", file.sha256}, {"size", file.size}});
  const std::string text = document.dump(2) + "\n";
  RETURN_IF_ERROR(WriteFileAtomically(folder / CheckpointManifest::kPath, text));
  return Sha256(text);
}

StatusOr<CheckpointManifest> ReadManifest(const std::filesystem::path& folder,
                                          std::string_view expected_digest) {
  const std::string where = fmt::format("manifest of checkpoint {}", folder.string());
  std::error_code ignored;
  if (!std::filesystem::exists(folder, ignored))
    return DataLoss("{}: the folder is not there: it was removed by hand", where);
  const auto text = ReadFile(folder / CheckpointManifest::kPath, kMaxManifestBytes);
  if (text.status().code() == StatusCode::kNotFound)
    return DataLoss("{}: it is missing, so the checkpoint was never finished", where);
  if (!text.ok()) return Annotate(text.status(), where);
  const std::string digest = Sha256(*text);
  if (digest != expected_digest)
    return DataLoss("{}: its SHA-256 is {}, {} was recorded", where, digest, expected_digest);
  StatusOr<CheckpointManifest> manifest = ParseManifest(*text);
  if (!manifest.ok()) return Annotate(manifest.status(), where);
  return manifest;
}

StatusOr<CheckpointManifest> VerifyCheckpoint(const std::filesystem::path& folder,
                                              std::string_view expected_digest,
                                              const ReadProgress& progress) {
  ASSIGN_OR_RETURN(CheckpointManifest manifest, ReadManifest(folder, expected_digest));
  int64_t done = 0;
  const auto piece = [&](size_t bytes) -> Status {
    done += static_cast<int64_t>(bytes);
    return progress ? progress("checking the checkpoint", done, manifest.total_bytes())
                    : OkStatus();
  };
  for (const ManifestFile& file : manifest.files) RETURN_IF_ERROR(VerifyFile(folder, file, piece));
  RETURN_IF_ERROR(RefuseStrangers(folder, manifest));
  return manifest;
}

}  // namespace trainyard
