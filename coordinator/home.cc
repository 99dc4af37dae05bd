#include "coordinator/home.h"

#include <fcntl.h>
#include <sys/file.h>
#include <unistd.h>

#include <nlohmann/json.hpp>

#include "common/lock_owner.h"

namespace trainyard::coordinator {

StatusOr<Home> Home::Open(const std::filesystem::path& home) {
  for (const char* folder : {"coordinator", "tokens", "blobs"})
    RETURN_IF_ERROR(MakeFolders(home / folder));
  const std::filesystem::path path = home / "coordinator" / "lock";
  UniqueFd lock(::open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600));
  if (!lock.valid()) return ErrnoStatus(errno, fmt::format("cannot open {}", path.string()));
  if (::flock(lock.get(), LOCK_EX | LOCK_NB) != 0) {
    return FailedPrecondition("another coordinator ({}) has {}; stop it, or use another --home",
                              DescribeLockOwner(path), home.string());
  }
  RETURN_IF_ERROR(WriteLockOwner(lock.get(), path));
  return Home(home, std::move(lock));
}

std::filesystem::path Home::token_file(TokenKind kind) const {
  return home_ / "tokens" / TokenKindName(kind);
}

Status Home::MintTokens(TokenTable& tokens, const Clock& clock) const {
  for (const TokenKind kind : {TokenKind::kClient, TokenKind::kWorker, TokenKind::kScraper}) {
    const std::filesystem::path path = token_file(kind);
    if (std::filesystem::exists(path)) continue;
    ASSIGN_OR_RETURN(const std::string token, tokens.Mint(kind, Role::kAdmin, clock.Now()));
    RETURN_IF_ERROR(WriteFileAtomically(path, token + "\n"));
  }
  return OkStatus();
}

Status Home::WriteAddresses(const std::string& grpc, const std::string& http) const {
  const nlohmann::ordered_json json = {{"grpc", grpc}, {"http", http}, {"pid", ::getpid()}};
  return WriteFileAtomically(home_ / "coordinator" / "addresses.json", json.dump(2) + "\n");
}

}  // namespace trainyard::coordinator
