// A folder that appears whole or not at all: written beside its place, then renamed.
#pragma once

#include <filesystem>
#include <nlohmann/json.hpp>
#include <string>
#include <string_view>

#include "common/status.h"
#include "worker/checkpoint/hashed_file.h"

namespace trainyard::worker {

class NewFolder {
 public:
  // AlreadyExists when `place` exists and is not an empty folder. Missing parents are made.
  static StatusOr<NewFolder> Create(const std::filesystem::path& place);
  NewFolder(NewFolder&& other) noexcept;
  NewFolder& operator=(NewFolder&&) = delete;
  // Removes what was written unless it was committed.
  ~NewFolder();

  // Where to write until then. Files must be synced by whoever writes them.
  const std::filesystem::path& path() const { return path_; }
  Status Text(const std::string& name, std::string_view text) const;
  Status Json(const std::string& name, const nlohmann::ordered_json& document) const;
  // Syncs the folder and gives it its name.
  Status Commit();

 private:
  NewFolder(std::filesystem::path place, std::filesystem::path path)
      : place_(std::move(place)), path_(std::move(path)) {}

  std::filesystem::path place_;
  std::filesystem::path path_;  // empty: moved from, or committed
};

}  // namespace trainyard::worker
