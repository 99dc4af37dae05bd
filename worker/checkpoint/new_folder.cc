#include "worker/checkpoint/new_folder.h"

#include <system_error>
#include <utility>

#include "common/files.h"
#include "common/user_file.h"

namespace trainyard::worker {

StatusOr<NewFolder> NewFolder::Create(const std::filesystem::path& place) {
  std::error_code error;
  const bool empty_folder =
      std::filesystem::is_directory(place, error) && std::filesystem::is_empty(place, error);
  std::filesystem::path whole = std::filesystem::absolute(place, error).lexically_normal();
  if (!whole.has_filename()) whole = whole.parent_path();  // "model/"
  if (IsTaken(whole) && !empty_folder)
    return AlreadyExists("{} exists; choose another place, or remove it", place.string());
  if (empty_folder) whole = std::filesystem::canonical(whole, error);  // a link stays a link
  if (error) return ErrnoStatus(error.value(), place.string());
  std::filesystem::path path = whole;
  path += ".part-" + RandomHex(4);
  // Others may read it as far as the umask lets them: it is the user's, not the service's.
  std::filesystem::create_directories(path, error);
  if (error) return ErrnoStatus(error.value(), fmt::format("cannot make folder {}", path.string()));
  return NewFolder(std::move(whole), std::move(path));
}

NewFolder::NewFolder(NewFolder&& other) noexcept
    : place_(std::move(other.place_)), path_(std::exchange(other.path_, {})) {}

NewFolder::~NewFolder() {
  std::error_code ignored;  // what cannot be removed keeps a name that says what it is
  if (!path_.empty()) std::filesystem::remove_all(path_, ignored);
}

Status NewFolder::Text(const std::string& name, std::string_view text) const {
  const std::filesystem::path parent = (path_ / name).parent_path();
  std::error_code error;
  std::filesystem::create_directories(parent, error);
  if (error)
    return ErrnoStatus(error.value(), fmt::format("cannot make folder {}", parent.string()));
  ASSIGN_OR_RETURN(HashedFile file, HashedFile::Create(path_ / name));
  RETURN_IF_ERROR(file.Write(text));
  RETURN_IF_ERROR(file.Finish().status());
  return SyncPath(parent);
}

Status NewFolder::Json(const std::string& name, const nlohmann::ordered_json& document) const {
  return Text(name, document.dump(2, ' ', false, nlohmann::json::error_handler_t::replace) + "\n");
}

Status NewFolder::Commit() {
  RETURN_IF_ERROR(SyncPath(path_));
  std::error_code error;
  std::filesystem::rename(path_, place_, error);
  if (error)
    return AlreadyExists("cannot rename {} to {}: {}", path_.string(), place_.string(),
                         error.message());
  path_.clear();
  return SyncPath(place_.parent_path());
}

}  // namespace trainyard::worker
