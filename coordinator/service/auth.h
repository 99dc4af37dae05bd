// Who may ask what. A token is 256 random bits; the store has only its SHA-256. A client token
// carries a role, a worker token joins workers, a scraper token reads /metrics.
#pragma once

#include <absl/base/thread_annotations.h>
#include <absl/synchronization/mutex.h>
#include <absl/time/time.h>

#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "common/metrics/rpc_metrics.h"
#include "common/status.h"
#include "coordinator/store/store.h"

namespace trainyard::coordinator {

// Each may do what those before it may.
enum class Role { kViewer, kSubmitter, kOperator, kAdmin };
std::string_view RoleName(Role role);
std::optional<Role> ParseRole(std::string_view name);

enum class TokenKind { kClient, kWorker, kScraper };
std::string_view TokenKindName(TokenKind kind);
std::optional<TokenKind> ParseTokenKind(std::string_view name);

struct Principal {
  std::string token_id;  // "client-1"; never the token
  TokenKind kind = TokenKind::kClient;
  Role role = Role::kViewer;  // of client tokens
  // "client:client-1", for the event log.
  std::string actor() const;
};

// Thread-safe.
class TokenTable {
 public:
  // `store` outlives the table.
  static StatusOr<std::unique_ptr<TokenTable>> Load(Store& store);

  // Unauthenticated, reason TOKEN_MISSING, TOKEN_UNKNOWN or TOKEN_REVOKED.
  StatusOr<Principal> Authenticate(std::string_view token) const;
  // A new token, durable; the text returned stands nowhere else.
  StatusOr<std::string> Mint(TokenKind kind, Role role, absl::Time now);
  // Durable, and in force at once. NotFound when there is no such token.
  Status Revoke(std::string_view token_id);
  bool Has(TokenKind kind) const;  // one that is not revoked

 private:
  TokenTable(Store& store, const std::vector<StoredToken>& tokens);

  Store& store_;
  mutable absl::Mutex mu_;
  std::map<std::string, StoredToken> by_digest_ ABSL_GUARDED_BY(mu_);
};

// What a method needs.
struct Access {
  enum class Kind {
    kClient,  // a client token of at least `role`
    kWorker,  // a worker token
    kOpen,    // nothing
  };
  Kind kind = Kind::kClient;
  Role role = Role::kAdmin;
};

// A method that is not in here is answered to nobody.
struct MethodAccess {
  std::string_view method;  // "/trainyard.v1.JobService/CreateJob"
  RpcType type;
  Access access;
};
const std::vector<MethodAccess>& AccessTable();
const MethodAccess* FindAccess(std::string_view method);

// PermissionDenied, reason ROLE_TOO_LOW or WRONG_TOKEN_KIND, naming the role that is needed.
Status CheckAccess(const Principal& principal, const Access& access, std::string_view method);

// The token in an "authorization" header; empty when it is not "Bearer <token>".
std::string_view BearerToken(std::string_view header);

}  // namespace trainyard::coordinator
