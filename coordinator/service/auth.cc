#include "coordinator/service/auth.h"

#include <algorithm>
#include <array>
#include <cctype>

#include "common/files.h"

namespace trainyard::coordinator {
namespace {

constexpr size_t kMaxToken = 256;
constexpr std::array<std::string_view, 4> kRoleNames = {"viewer", "submitter", "operator", "admin"};
constexpr std::array<std::string_view, 3> kKindNames = {"client", "worker", "scraper"};

template <class Enum, size_t n>
std::optional<Enum> Parse(const std::array<std::string_view, n>& names, std::string_view name) {
  const auto found = std::find(names.begin(), names.end(), name);
  if (found == names.end()) return std::nullopt;
  return static_cast<Enum>(found - names.begin());
}

constexpr Access Client(Role role) { return {Access::Kind::kClient, role}; }
constexpr Access kWorkers = {Access::Kind::kWorker, Role::kAdmin};
constexpr Access kOpen = {Access::Kind::kOpen, Role::kViewer};

Status Unauthenticated(std::string_view reason, std::string_view what) {
  return WithReason(
      trainyard::Unauthenticated("{}: send \"authorization: Bearer <token>\" with a token that "
                                 "`trainyard-coordinator init` or an admin minted",
                                 what),
      reason);
}

}  // namespace

std::string_view RoleName(Role role) { return kRoleNames[static_cast<size_t>(role)]; }
std::optional<Role> ParseRole(std::string_view name) { return Parse<Role>(kRoleNames, name); }
std::string_view TokenKindName(TokenKind kind) { return kKindNames[static_cast<size_t>(kind)]; }
std::optional<TokenKind> ParseTokenKind(std::string_view name) {
  return Parse<TokenKind>(kKindNames, name);
}

std::string Principal::actor() const { return fmt::format("{}:{}", TokenKindName(kind), token_id); }

StatusOr<std::unique_ptr<TokenTable>> TokenTable::Load(Store& store) {
  ASSIGN_OR_RETURN(const std::vector<StoredToken> tokens, store.LoadTokens());
  return std::unique_ptr<TokenTable>(new TokenTable(store, tokens));
}

TokenTable::TokenTable(Store& store, const std::vector<StoredToken>& tokens) : store_(store) {
  for (const StoredToken& token : tokens) by_digest_[token.sha256] = token;
}

StatusOr<Principal> TokenTable::Authenticate(std::string_view token) const {
  if (token.empty()) return Unauthenticated("TOKEN_MISSING", "this needs a token");
  if (token.size() > kMaxToken) return Unauthenticated("TOKEN_UNKNOWN", "this is no token");
  // Looking a digest up tells nothing about tokens, however long it takes: who could choose digests
  // would know the tokens already.
  const std::string digest = Sha256(token);
  absl::MutexLock lock(&mu_);
  const auto found = by_digest_.find(digest);
  if (found == by_digest_.end()) return Unauthenticated("TOKEN_UNKNOWN", "nobody has this token");
  const StoredToken& stored = found->second;
  if (stored.revoked) return Unauthenticated("TOKEN_REVOKED", "this token was revoked");
  const auto kind = ParseTokenKind(stored.kind);
  const auto role = ParseRole(stored.role);
  if (!kind || (*kind == TokenKind::kClient && !role))
    return Unauthenticated("TOKEN_UNKNOWN", "this token's kind or role is unknown to this version");
  return Principal{stored.id, *kind, role.value_or(Role::kViewer)};
}

StatusOr<std::string> TokenTable::Mint(TokenKind kind, Role role, absl::Time now) {
  const std::string token = fmt::format("trainyard_{}_{}", TokenKindName(kind), RandomHex(32));
  StoredToken stored{.id = "",
                     .sha256 = Sha256(token),
                     .kind = std::string(TokenKindName(kind)),
                     .role = kind == TokenKind::kClient ? std::string(RoleName(role)) : "",
                     .created = now,
                     .revoked = false};
  absl::MutexLock lock(&mu_);
  const auto taken = [&](const std::string& id) ABSL_NO_THREAD_SAFETY_ANALYSIS {
    return std::any_of(by_digest_.begin(), by_digest_.end(),
                       [&](const auto& entry) { return entry.second.id == id; });
  };
  for (int n = 1; stored.id.empty() || taken(stored.id); ++n)
    stored.id = fmt::format("{}-{}", stored.kind, n);
  RETURN_IF_ERROR(store_.PutToken(stored));
  by_digest_[stored.sha256] = stored;
  return token;
}

Status TokenTable::Revoke(std::string_view token_id) {
  absl::MutexLock lock(&mu_);
  for (auto& [digest, stored] : by_digest_) {
    if (stored.id != token_id) continue;
    StoredToken revoked = stored;
    revoked.revoked = true;
    RETURN_IF_ERROR(store_.PutToken(revoked));
    stored = revoked;
    return OkStatus();
  }
  return NotFound("there is no token {:?}", token_id);
}

bool TokenTable::Has(TokenKind kind) const {
  absl::MutexLock lock(&mu_);
  return std::any_of(by_digest_.begin(), by_digest_.end(), [&](const auto& entry) {
    return entry.second.kind == TokenKindName(kind) && !entry.second.revoked;
  });
}

const std::vector<MethodAccess>& AccessTable() {
  using T = RpcType;
  static const std::vector<MethodAccess> kTable = {
      {"/trainyard.v1.JobService/CreateJob", T::kUnary, Client(Role::kSubmitter)},
      {"/trainyard.v1.JobService/GetJob", T::kUnary, Client(Role::kViewer)},
      {"/trainyard.v1.JobService/ListJobs", T::kUnary, Client(Role::kViewer)},
      {"/trainyard.v1.JobService/WatchJob", T::kServerStream, Client(Role::kViewer)},
      {"/trainyard.v1.JobService/CancelJob", T::kUnary, Client(Role::kSubmitter)},
      {"/trainyard.v1.JobService/RetryJob", T::kUnary, Client(Role::kSubmitter)},
      {"/trainyard.v1.JobService/DeleteJob", T::kUnary, Client(Role::kSubmitter)},
      {"/trainyard.v1.JobService/TailLogs", T::kServerStream, Client(Role::kViewer)},
      {"/trainyard.v1.JobService/WatchMetrics", T::kServerStream, Client(Role::kViewer)},
      {"/trainyard.v1.JobService/ListEvents", T::kUnary, Client(Role::kViewer)},
      {"/trainyard.v1.JobService/ExplainJob", T::kUnary, Client(Role::kViewer)},
      {"/trainyard.v1.JobService/ListWorkers", T::kUnary, Client(Role::kViewer)},
      {"/trainyard.v1.WorkerService/Session", T::kBidiStream, kWorkers},
      {"/trainyard.v1.WorkerService/Telemetry", T::kBidiStream, kWorkers},
      {"/trainyard.v1.BlobService/FindMissing", T::kUnary, Client(Role::kSubmitter)},
      {"/trainyard.v1.BlobService/GetUpload", T::kUnary, Client(Role::kSubmitter)},
      {"/trainyard.v1.BlobService/Upload", T::kClientStream, Client(Role::kSubmitter)},
      {"/trainyard.v1.BlobService/Download", T::kServerStream, Client(Role::kViewer)},
      {"/trainyard.v1.BlobService/GetUsage", T::kUnary, Client(Role::kViewer)},
      {"/trainyard.v1.CheckpointService/ListCheckpoints", T::kUnary, Client(Role::kViewer)},
      {"/trainyard.v1.CheckpointService/GetCheckpoint", T::kUnary, Client(Role::kViewer)},
      {"/trainyard.v1.CheckpointService/VerifyCheckpoint", T::kUnary, Client(Role::kViewer)},
      {"/trainyard.v1.CheckpointService/DeleteCheckpoint", T::kUnary, Client(Role::kSubmitter)},
      // Says SERVING or NOT_SERVING and nothing else; probes have no tokens.
      {"/grpc.health.v1.Health/Check", T::kUnary, kOpen},
      {"/grpc.health.v1.Health/Watch", T::kServerStream, kOpen},
      {"/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo", T::kBidiStream,
       Client(Role::kViewer)},
  };
  return kTable;
}

const MethodAccess* FindAccess(std::string_view method) {
  const auto& table = AccessTable();
  const auto found = std::find_if(table.begin(), table.end(), [&](const MethodAccess& entry) {
    return entry.method == method;
  });
  return found == table.end() ? nullptr : &*found;
}

Status CheckAccess(const Principal& principal, const Access& access, std::string_view method) {
  switch (access.kind) {
    case Access::Kind::kOpen:
      return OkStatus();
    case Access::Kind::kWorker:
      if (principal.kind == TokenKind::kWorker) return OkStatus();
      return WithReason(PermissionDenied("{} needs a worker join token, this is a {} token", method,
                                         TokenKindName(principal.kind)),
                        "WRONG_TOKEN_KIND");
    case Access::Kind::kClient:
      break;
  }
  if (principal.kind != TokenKind::kClient)
    return WithReason(
        PermissionDenied("{} needs a client token of role {} or higher, this is a {} token", method,
                         RoleName(access.role), TokenKindName(principal.kind)),
        "WRONG_TOKEN_KIND");
  if (principal.role >= access.role) return OkStatus();
  return WithReason(PermissionDenied("{} needs the role {}; this token's role is {}", method,
                                     RoleName(access.role), RoleName(principal.role)),
                    "ROLE_TOO_LOW");
}

std::string_view BearerToken(std::string_view header) {
  constexpr std::string_view kScheme = "bearer ";
  if (header.size() <= kScheme.size()) return {};
  for (size_t i = 0; i < kScheme.size(); ++i)
    if (std::tolower(static_cast<unsigned char>(header[i])) != kScheme[i]) return {};
  return header.substr(kScheme.size());
}

}  // namespace trainyard::coordinator
