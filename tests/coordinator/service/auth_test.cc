#include "coordinator/service/auth.h"

#include <gmock/gmock.h>
#include <google/protobuf/descriptor.h>
#include <grpcpp/generic/generic_stub.h>

#include <set>

#include "tests/coordinator/service/fixture.h"

namespace trainyard::coordinator {
namespace {

using testing::HasSubstr;
using testing::IsEmpty;

const std::vector<const google::protobuf::ServiceDescriptor*>& OurServices() {
  static const std::vector<const google::protobuf::ServiceDescriptor*> kServices = [] {
    std::vector<const google::protobuf::ServiceDescriptor*> services;
    for (const auto* file :
         {v1::CreateJobRequest::descriptor()->file(), v1::WorkerReport::descriptor()->file(),
          v1::UploadRequest::descriptor()->file(),
          v1::ListCheckpointsRequest::descriptor()->file()})
      for (int i = 0; i < file->service_count(); ++i) services.push_back(file->service(i));
    return services;
  }();
  return kServices;
}

RpcType TypeOf(const google::protobuf::MethodDescriptor& method) {
  if (method.client_streaming())
    return method.server_streaming() ? RpcType::kBidiStream : RpcType::kClientStream;
  return method.server_streaming() ? RpcType::kServerStream : RpcType::kUnary;
}

TEST(AccessTable, HasEveryMethodOfEveryServiceAndNoOther) {
  std::set<std::string> ours;
  ASSERT_EQ(OurServices().size(), 4u);
  for (const auto* service : OurServices())
    for (int i = 0; i < service->method_count(); ++i) {
      const auto& method = *service->method(i);
      const std::string name = "/" + service->full_name() + "/" + method.name();
      ours.insert(name);
      const MethodAccess* entry = FindAccess(name);
      ASSERT_NE(entry, nullptr) << name;
      EXPECT_EQ(entry->type, TypeOf(method)) << name;
      EXPECT_NE(entry->access.kind, Access::Kind::kOpen) << name;
      EXPECT_EQ(entry->access.kind == Access::Kind::kWorker,
                service->full_name() == "trainyard.v1.WorkerService")
          << name;
    }
  for (const MethodAccess& entry : AccessTable())
    EXPECT_TRUE(ours.contains(std::string(entry.method)) || entry.method.starts_with("/grpc."))
        << entry.method;
}

TEST(AccessTable, OpensNothingButHealth) {
  for (const MethodAccess& entry : AccessTable())
    EXPECT_EQ(entry.access.kind == Access::Kind::kOpen,
              entry.method.starts_with("/grpc.health.v1.Health/"))
        << entry.method;
}

TEST(Roles, EachMayDoWhatThoseBeforeItMay) {
  const Access submit = {Access::Kind::kClient, Role::kSubmitter};
  for (const Role role : {Role::kSubmitter, Role::kOperator, Role::kAdmin})
    EXPECT_OK(CheckAccess({"c", TokenKind::kClient, role}, submit, "M"));
  EXPECT_THAT(CheckAccess({"c", TokenKind::kClient, Role::kViewer}, submit, "M"),
              StatusIs(StatusCode::kPermissionDenied, HasSubstr("submitter")));
  for (const TokenKind kind : {TokenKind::kWorker, TokenKind::kScraper})
    EXPECT_THAT(CheckAccess({"t", kind, Role::kAdmin}, submit, "M"),
                StatusIs(StatusCode::kPermissionDenied, HasSubstr("client token")));
  EXPECT_THAT(CheckAccess({"c", TokenKind::kClient, Role::kAdmin},
                          {Access::Kind::kWorker, Role::kViewer}, "M"),
              StatusIs(StatusCode::kPermissionDenied, HasSubstr("worker")));
  for (const Role role : {Role::kViewer, Role::kSubmitter, Role::kOperator, Role::kAdmin})
    EXPECT_EQ(ParseRole(RoleName(role)), role);
  EXPECT_EQ(ParseRole("root"), std::nullopt);
}

TEST(Bearer, IsTheOnlyScheme) {
  EXPECT_EQ(BearerToken("Bearer abc"), "abc");
  EXPECT_EQ(BearerToken("bearer abc"), "abc");
  for (const char* none : {"", "Bearer", "Bearer ", "Basic abc", "abc", "Bearerabc"})
    EXPECT_THAT(BearerToken(none), IsEmpty()) << none;
}

class AuthTest : public ServiceTest {
 protected:
  // Calls any method with an empty request (or an ended stream) and gives its status.
  Status RawCall(const MethodAccess& entry, const std::string& token) {
    grpc::ClientContext context;
    context.set_deadline(std::chrono::system_clock::now() + std::chrono::seconds(20));
    if (!token.empty()) context.AddMetadata("authorization", "Bearer " + token);
    grpc::CompletionQueue queue;
    void* tag = nullptr;
    bool ok = false;
    grpc::GenericStub stub(channel_);
    auto call = stub.PrepareCall(&context, std::string(entry.method), &queue);
    const auto wait = [&] {
      EXPECT_TRUE(queue.Next(&tag, &ok));
      return ok;
    };
    call->StartCall(nullptr);
    wait();
    grpc::ByteBuffer nothing{std::vector<grpc::Slice>{grpc::Slice("", 0)}.data(), 1};
    const bool streams_in =
        entry.type == RpcType::kClientStream || entry.type == RpcType::kBidiStream;
    if (!streams_in) {
      call->Write(nothing, nullptr);
      wait();
    }
    call->WritesDone(nullptr);
    wait();
    grpc::ByteBuffer response;
    do {
      call->Read(&response, nullptr);
    } while (wait());
    grpc::Status status;
    call->Finish(&status, nullptr);
    wait();
    return FromGrpc(status);
  }
};

TEST_F(AuthTest, EveryMethodIsClosedToThoseWithoutAGoodToken) {
  const std::string revoked = *tokens_->Mint(TokenKind::kClient, Role::kAdmin, clock_.Now());
  ASSERT_OK(tokens_->Revoke("client-2"));
  for (const MethodAccess& entry : AccessTable()) {
    if (!entry.method.starts_with("/trainyard.")) continue;
    for (const auto& [token, reason] :
         std::map<std::string, std::string>{{"", "TOKEN_MISSING"},
                                            {std::string(64, 'f'), "TOKEN_UNKNOWN"},
                                            {std::string(4000, 'f'), "TOKEN_UNKNOWN"},
                                            {admin_.substr(0, admin_.size() - 1), "TOKEN_UNKNOWN"},
                                            {revoked, "TOKEN_REVOKED"}}) {
      const Status status = RawCall(entry, token);
      EXPECT_EQ(status.code(), StatusCode::kUnauthenticated)
          << entry.method << " with " << reason << ": " << status.ToString();
      EXPECT_EQ(ReasonOf(status), reason) << entry.method;
    }
  }
}

TEST_F(AuthTest, EveryMethodOpensToItsRoleAndThoseAboveOnly) {
  std::map<Role, std::string> clients;
  for (const Role role : {Role::kViewer, Role::kSubmitter, Role::kOperator, Role::kAdmin})
    clients[role] = *tokens_->Mint(TokenKind::kClient, role, clock_.Now());
  const std::string scraper = *tokens_->Mint(TokenKind::kScraper, Role::kViewer, clock_.Now());
  const auto is_denied = [](const Status& status) {
    return status.code() == StatusCode::kPermissionDenied ||
           status.code() == StatusCode::kUnauthenticated;
  };
  for (const MethodAccess& entry : AccessTable()) {
    if (!entry.method.starts_with("/trainyard.")) continue;
    const bool for_workers = entry.access.kind == Access::Kind::kWorker;
    for (const auto& [role, token] : clients) {
      const Status status = RawCall(entry, token);
      // ListEvents with no job asks for all of them, which needs an operator.
      const Role needed =
          entry.method.ends_with("/ListEvents") ? Role::kOperator : entry.access.role;
      const bool may = !for_workers && role >= needed;
      EXPECT_EQ(!is_denied(status), may)
          << entry.method << " as " << RoleName(role) << ": " << status.ToString();
      if (!may && !for_workers) {
        EXPECT_THAT(MessageOf(status), HasSubstr(std::string(RoleName(needed)))) << entry.method;
      }
    }
    EXPECT_EQ(!is_denied(RawCall(entry, worker_)), for_workers) << entry.method;
    EXPECT_EQ(RawCall(entry, scraper).code(), StatusCode::kPermissionDenied) << entry.method;
  }
  EXPECT_THAT(metrics_->Exposition(),
              HasSubstr("trainyard_requests_denied_total{reason=\"ROLE_TOO_LOW\"}"));
}

TEST_F(AuthTest, TokensLastOverARestartAndAreStoredAsDigests) {
  const std::string viewer = *tokens_->Mint(TokenKind::kClient, Role::kViewer, clock_.Now());
  Restart();
  ASSERT_OK_AND_ASSIGN(const Principal principal, tokens_->Authenticate(viewer));
  EXPECT_EQ(principal.role, Role::kViewer);
  EXPECT_EQ(principal.actor(), "client:" + principal.token_id);
  ASSERT_OK(tokens_->Revoke(principal.token_id));
  EXPECT_THAT(tokens_->Authenticate(viewer),
              StatusIs(StatusCode::kUnauthenticated, HasSubstr("revoked")));
  EXPECT_THAT(tokens_->Revoke("client-99"), StatusIs(StatusCode::kNotFound, HasSubstr("99")));
  ASSERT_OK_AND_ASSIGN(const auto stored, store_->LoadTokens());
  for (const StoredToken& token : stored) {
    EXPECT_EQ(token.sha256.size(), 64u);
    EXPECT_EQ(viewer.find(token.sha256), std::string::npos);
  }
  EXPECT_TRUE(tokens_->Has(TokenKind::kWorker));
  EXPECT_FALSE(tokens_->Has(TokenKind::kScraper));
}

}  // namespace
}  // namespace trainyard::coordinator
