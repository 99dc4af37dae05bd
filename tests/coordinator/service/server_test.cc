// The server itself: health, reflection, addresses, TLS, and the pool and hub behind it.
#include <absl/synchronization/notification.h>
#include <gmock/gmock.h>
#include <grpcpp/generic/generic_stub.h>

#include <atomic>

#include "coordinator/service/work_pool.h"
#include "tests/coordinator/service/fixture.h"
#include "tests/support/certificates.h"

namespace trainyard::coordinator {
namespace {

using testing::HasSubstr;

class ServerTest : public ServiceTest {
 protected:
  ServiceContext Context() {
    return {*coordinator_, *store_, *history_, *blobs_, *tokens_, *metrics_, clock_, *usage_};
  }
  std::unique_ptr<GrpcServer> StartWithTls(const TlsFiles& tls) {
    auto server = GrpcServer::Start(
        {.address = "127.0.0.1:0", .tls = tls},
        {*coordinator_, *store_, *history_, *blobs_, *tokens_, tls_metrics_, clock_, *usage_});
    EXPECT_OK(server);
    return *std::move(server);
  }
  Status List(const GrpcServer& server, const TlsFiles& tls) {
    const auto channel = OpenChannel({.address = server.address(), .tls = tls});
    EXPECT_OK(channel);
    const auto stub = v1::JobService::NewStub(*channel);
    grpc::ClientContext context;
    PrepareCall(&context, admin_, absl::Seconds(20));
    v1::ListJobsResponse response;
    return FromGrpc(stub->ListJobs(&context, {}, &response));
  }
  MetricsRegistry tls_metrics_;  // series of a second server beside the fixture's

  // One message to and from a bidirectional or unary method.
  Status Call(const std::string& method, const std::string& token, const std::string& message,
              std::string* answer) {
    grpc::ClientContext context;
    context.set_deadline(std::chrono::system_clock::now() + std::chrono::seconds(20));
    if (!token.empty()) context.AddMetadata("authorization", "Bearer " + token);
    grpc::CompletionQueue queue;
    void* tag = nullptr;
    bool ok = false;
    grpc::GenericStub stub(channel_);
    const auto call = stub.PrepareCall(&context, method, &queue);
    call->StartCall(nullptr);
    queue.Next(&tag, &ok);
    const grpc::Slice slice(message);
    call->WriteLast(grpc::ByteBuffer(&slice, 1), grpc::WriteOptions(), nullptr);
    queue.Next(&tag, &ok);
    grpc::ByteBuffer response;
    call->Read(&response, nullptr);
    queue.Next(&tag, &ok);
    if (ok) {
      std::vector<grpc::Slice> slices;
      (void)response.Dump(&slices);
      for (const grpc::Slice& part : slices)
        answer->append(reinterpret_cast<const char*>(part.begin()), part.size());
    }
    grpc::Status status;
    call->Finish(&status, nullptr);
    queue.Next(&tag, &ok);
    return FromGrpc(status);
  }
};

TEST_F(ServerTest, HealthAnswersEveryoneAndSaysServing) {
  std::string answer;
  ASSERT_OK(Call("/grpc.health.v1.Health/Check", "", "", &answer));
  EXPECT_EQ(answer, "\x08\x01");  // status = 1: SERVING
}

TEST_F(ServerTest, ReflectionNeedsAToken) {
  constexpr char kMethod[] = "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo";
  const std::string list_services = "\x3a\x01*";  // field 7, "*"
  std::string answer;
  ASSERT_OK(Call(kMethod, admin_, list_services, &answer));
  for (const char* service : {"JobService", "WorkerService", "BlobService", "CheckpointService"})
    EXPECT_THAT(answer, HasSubstr(std::string("trainyard.v1.") + service));
  answer.clear();
  EXPECT_FALSE(Call(kMethod, "", list_services, &answer).ok());
  EXPECT_FALSE(Call(kMethod, worker_, list_services, &answer).ok());
  EXPECT_EQ(answer, "");
}

TEST_F(ServerTest, APortIsHeldByOneServer) {
  EXPECT_THAT(GrpcServer::Start({.address = server_->address()}, Context()),
              StatusIs(StatusCode::kUnavailable, HasSubstr(server_->address())));
}

TEST_F(ServerTest, PlainTextStaysOnThisMachine) {
  EXPECT_THAT(GrpcServer::Start({.address = "0.0.0.0:0"}, Context()),
              StatusIs(StatusCode::kFailedPrecondition, HasSubstr("TLS")));
}

TEST_F(ServerTest, WithTlsClientsMustKnowTheAuthority) {
  const TempFolder folder, elsewhere;
  const TestCertificates files(folder.path()), others(elsewhere.path());
  const auto server = StartWithTls({.cert = files.cert, .key = files.key});
  EXPECT_OK(List(*server, {.ca = files.ca}));
  EXPECT_EQ(List(*server, {.ca = others.ca}).code(), StatusCode::kUnavailable);
  EXPECT_EQ(List(*server, {}).code(), StatusCode::kUnavailable);
}

TEST_F(ServerTest, WithMutualTlsOnlyClientsWithACertificateAreHeard) {
  const TempFolder folder, elsewhere;
  const TestCertificates files(folder.path()), others(elsewhere.path());
  const auto server = StartWithTls({.ca = files.ca, .cert = files.cert, .key = files.key});
  EXPECT_OK(List(*server, {.ca = files.ca, .cert = files.cert, .key = files.key}));
  EXPECT_EQ(List(*server, {.ca = files.ca}).code(), StatusCode::kUnavailable);
  EXPECT_EQ(List(*server, {.ca = files.ca, .cert = others.cert, .key = others.key}).code(),
            StatusCode::kUnavailable);
  EXPECT_EQ(List(*server, {}).code(), StatusCode::kUnavailable);
}

TEST(WorkPool, RefusesMoreThanItsQueueHoldsAndDoesTheRest) {
  StopSignal go;
  std::atomic<int> done = 0;
  {
    WorkPool pool("test", 1, 2);
    absl::Notification begun;
    ASSERT_OK(pool.Submit([&] {
      begun.Notify();
      (void)go.WaitFor(absl::Seconds(20));
      ++done;
    }));
    begun.WaitForNotification();
    ASSERT_OK(pool.Submit([&] { ++done; }));
    ASSERT_OK(pool.Submit([&] { ++done; }));
    const Status full = pool.Submit([&] { ++done; });
    EXPECT_EQ(full.code(), StatusCode::kResourceExhausted);
    EXPECT_EQ(ReasonOf(full), "OVERLOADED");
    go.Stop();
  }
  EXPECT_EQ(done, 3);
}

TEST(Stepper, NeverRunsTwoStepsAtOnceAndLosesNoWake) {
  class Counter final : public Stepping {
   public:
    void Step() override {
      EXPECT_EQ(inside++, 0);
      seen = woken.load();
      --inside;
    }
    std::atomic<int> inside = 0, woken = 0, seen = 0;
  };
  const auto counter = std::make_shared<Counter>();
  {
    Stepper stepper("test", 4);
    std::vector<Thread> wakers;
    for (int t = 0; t < 4; ++t)
      wakers.emplace_back("waker", [&] {
        for (int i = 0; i < 1000; ++i) {
          ++counter->woken;
          stepper.Wake(counter);
        }
      });
  }
  EXPECT_EQ(counter->seen, 4000);
}

}  // namespace
}  // namespace trainyard::coordinator
