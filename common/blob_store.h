// Where the durable bytes live: datasets, prepared data, checkpoints. A key is a relative path,
// e.g. "datasets/<sha256>" or "checkpoints/<job>/step-00000400-a1/model.safetensors".
//
// A key has at most 1024 characters in segments of [A-Za-z0-9._-], at most 200 each, none of which
// begins with a dot (so ".." and hidden files cannot be named). Anything else is InvalidArgument.
// A blob appears whole or not at all, and is durable when Put or FinishUpload returns.
#pragma once

#include <absl/time/time.h>

#include <cstdint>
#include <filesystem>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "common/files.h"
#include "common/status.h"

namespace trainyard {

// InvalidArgument, naming key and rule, unless `key` is well-formed.
Status CheckBlobKey(std::string_view key);

struct BlobEntry {
  std::string key;
  int64_t size = 0;  // bytes
};

// All members may be called from any thread, and by several processes on one store.
class BlobStore {
 public:
  virtual ~BlobStore() = default;

  // Creates or replaces the blob.
  virtual Status Put(const std::string& key, std::string_view bytes) = 0;

  // Creates or replaces the blob `to` with the bytes that `from` has now; deleting or replacing
  // either later leaves the other alone. Takes no more space where the disk can share them.
  // NotFound when there is no blob `from`.
  virtual Status Link(const std::string& from, const std::string& to) = 0;

  // A resumable upload of one key. Its bytes go to a side file that no reader sees.
  // Bytes received so far; 0 when no upload was begun.
  virtual StatusOr<int64_t> UploadedBytes(const std::string& key) = 0;
  // FailedPrecondition, naming the offset to continue at, unless `offset` is UploadedBytes(key).
  virtual Status AppendUpload(const std::string& key, int64_t offset, std::string_view bytes) = 0;
  // Turns the upload into the blob. DataLoss, and the upload is dropped, when digest or size differ
  // from what was promised; FailedPrecondition while bytes are missing. Repeating a finished upload
  // is OK.
  virtual Status FinishUpload(const std::string& key, const std::string& sha256, int64_t size) = 0;
  // Drops uploads to which nothing was appended since `older_than`, and what crashed writers left.
  // Returns how many were dropped.
  virtual StatusOr<int64_t> SweepUploads(absl::Time older_than) = 0;

  virtual StatusOr<bool> Exists(const std::string& key) = 0;
  // NotFound when there is no such blob; so for the reads.
  virtual StatusOr<int64_t> Size(const std::string& key) = 0;
  // Up to `length` bytes from `offset`; fewer only at the blob's end.
  virtual StatusOr<std::string> Read(const std::string& key, int64_t offset, int64_t length) = 0;
  // InvalidArgument when the blob is larger than `max_bytes`.
  virtual StatusOr<std::string> ReadAll(const std::string& key,
                                        int64_t max_bytes = int64_t{1} << 30) = 0;
  // Every blob whose key begins with `folder` and a slash (all of them when it is empty), by key.
  virtual StatusOr<std::vector<BlobEntry>> List(const std::string& folder) = 0;
  // The folders right below one: keys "<folder>/<name>", in order, also of those that hold no blob,
  // as a writer killed in between leaves them. `folder` must not be empty.
  virtual StatusOr<std::vector<std::string>> Folders(const std::string& folder) = 0;
  // OK also when there is nothing to delete.
  virtual Status Delete(const std::string& key) = 0;
  // Deletes what List(folder) lists, and the folder; it must not be empty. All of it disappears at
  // once.
  virtual Status DeletePrefix(const std::string& folder) = 0;

  // Where the blob or folder of this key lies on this machine's disk; nothing when the store is
  // elsewhere. Who writes there directly promises what Put promises.
  virtual StatusOr<std::optional<std::filesystem::path>> LocalPath(const std::string& key) = 0;
};

// A folder on a local or shared disk. Paths are walked segment by segment beneath the root without
// following symbolic links, so nothing outside it is ever opened.
class DirectoryBlobStore final : public BlobStore {
 public:
  // Creates `root` when it is absent.
  static StatusOr<std::unique_ptr<DirectoryBlobStore>> Open(const std::filesystem::path& root);

  Status Put(const std::string& key, std::string_view bytes) override;
  Status Link(const std::string& from, const std::string& to) override;
  StatusOr<int64_t> UploadedBytes(const std::string& key) override;
  Status AppendUpload(const std::string& key, int64_t offset, std::string_view bytes) override;
  Status FinishUpload(const std::string& key, const std::string& sha256, int64_t size) override;
  StatusOr<int64_t> SweepUploads(absl::Time older_than) override;
  StatusOr<bool> Exists(const std::string& key) override;
  StatusOr<int64_t> Size(const std::string& key) override;
  StatusOr<std::string> Read(const std::string& key, int64_t offset, int64_t length) override;
  StatusOr<std::string> ReadAll(const std::string& key, int64_t max_bytes) override;
  StatusOr<std::vector<BlobEntry>> List(const std::string& folder) override;
  StatusOr<std::vector<std::string>> Folders(const std::string& folder) override;
  Status Delete(const std::string& key) override;
  Status DeletePrefix(const std::string& folder) override;
  StatusOr<std::optional<std::filesystem::path>> LocalPath(const std::string& key) override;

 private:
  DirectoryBlobStore(std::filesystem::path root, UniqueFd root_fd, UniqueFd side_fd)
      : root_(std::move(root)), root_fd_(std::move(root_fd)), side_fd_(std::move(side_fd)) {}

  // The open folder of a key and the key's last segment.
  struct Place {
    UniqueFd folder;
    std::string name;
  };
  StatusOr<Place> Find(const std::string& key, bool make_folders) const;
  StatusOr<UniqueFd> OpenToList(const std::string& folder) const;
  StatusOr<UniqueFd> OpenBlob(const std::string& key, int64_t* size) const;
  // A side file with the bytes of the blob `from`, which is open.
  Status LinkToSide(const std::string& from, int from_fd, const std::string& side_name) const;
  // Moves a synced side file to its key.
  Status Publish(const std::string& side_name, const std::string& key) const;
  // The locked side file of an upload.
  StatusOr<UniqueFd> OpenUpload(const std::string& key, int64_t* size) const;

  const std::filesystem::path root_;
  const UniqueFd root_fd_;
  const UniqueFd side_fd_;  // root/.side: uploads, files being put, folders being deleted
};

}  // namespace trainyard
