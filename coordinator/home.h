// The coordinator's folder: one daemon at a time, the credentials it minted, the addresses it is
// bound to.
//
//   HOME/coordinator/           lock, trainyard.db, history/, addresses.json
//   HOME/tokens/{client,worker,scraper}   mode 0600; who may read one may act as one
//   HOME/blobs/                 datasets, prepared data, checkpoints
#pragma once

#include <filesystem>
#include <string>

#include "common/clock.h"
#include "common/files.h"
#include "common/status.h"
#include "coordinator/service/auth.h"

namespace trainyard::coordinator {

class Home {
 public:
  // Makes the folders and takes the lock, which is held until this object goes.
  // FailedPrecondition when another coordinator has it, naming its process.
  static StatusOr<Home> Open(const std::filesystem::path& home);

  std::filesystem::path database() const { return home_ / "coordinator" / "trainyard.db"; }
  std::filesystem::path history() const { return home_ / "coordinator" / "history"; }
  std::filesystem::path blobs() const { return home_ / "blobs"; }
  std::filesystem::path token_file(TokenKind kind) const;

  // Mints the three credentials (a client token of role admin) that are not there yet.
  Status MintTokens(TokenTable& tokens, const Clock& clock) const;
  // Where clients on this machine find the daemon. Written last, when it serves.
  Status WriteAddresses(const std::string& grpc, const std::string& http) const;

 private:
  explicit Home(std::filesystem::path home, UniqueFd lock)
      : home_(std::move(home)), lock_(std::move(lock)) {}
  std::filesystem::path home_;
  UniqueFd lock_;
};

}  // namespace trainyard::coordinator
