// The manifest of a checkpoint folder, trainyard/manifest.json: every file with its hash. It is
// written last; its own SHA-256, the manifest digest, is what the coordinator records. A folder is
// what was recorded only if VerifyCheckpoint says so.
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "common/ids.h"
#include "common/status.h"

namespace trainyard {

struct ManifestFile {
  std::string path;  // relative to the checkpoint's folder, well-formed as a blob key
  std::string sha256;
  int64_t size = 0;  // bytes
};

struct CheckpointManifest {
  static constexpr int kVersion = 1;
  static constexpr char kPath[] = "trainyard/manifest.json";

  std::string job;
  AttemptNumber attempt = 0;
  int64_t step = 0;
  std::vector<ManifestFile> files;
  int64_t total_bytes() const;
};

// "step-00000400-a3": the name of a checkpoint's folder under checkpoints/<job>/.
std::string CheckpointFolderName(int64_t step, AttemptNumber attempt);

// Writes the manifest into `folder`, durably, and returns its digest.
StatusOr<std::string> WriteManifest(const std::filesystem::path& folder,
                                    const CheckpointManifest& manifest);

// The manifest as written; DataLoss when it is missing, malformed or its digest is another.
StatusOr<CheckpointManifest> ReadManifest(const std::filesystem::path& folder,
                                          std::string_view expected_digest);

// Told how far a long reading is, every few MiB: "checking the checkpoint", 120'000'000 of
// 538'000'000 bytes. Called in the thread that reads; an error stops the reading and is returned.
using ReadProgress =
    std::function<Status(std::string_view what, int64_t done_bytes, int64_t total_bytes)>;

// Reads every byte. DataLoss naming the file that is missing, has another size or hash, is not a
// plain file, or is not in the manifest at all.
StatusOr<CheckpointManifest> VerifyCheckpoint(const std::filesystem::path& folder,
                                              std::string_view expected_digest,
                                              const ReadProgress& progress = {});

}  // namespace trainyard
