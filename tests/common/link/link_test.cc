// Server and client over real Unix sockets in a temporary folder. Every wait is for an event.
#include <fcntl.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <atomic>

#include "common/link/link_client.h"
#include "common/link/link_server.h"
#include "common/link/telemetry_file.h"
#include "common/rng.h"
#include "tests/support/status_matchers.h"

namespace trainyard::link {
namespace {

using testing::HasSubstr;

constexpr absl::Duration kLong = absl::Seconds(20);

// What an agent has heard, to be waited for.
class Heard {
 public:
  LinkClientCallbacks Callbacks() {
    return {.on_status =
                [this](const RankStatus& status) {
                  absl::MutexLock lock(&mu_);
                  status_ = status;
                },
            .on_telemetry =
                [this](uint64_t sequence, const Telemetry& message) {
                  absl::MutexLock lock(&mu_);
                  sequences_.push_back(sequence);
                  if (const auto* event = std::get_if<TrainerEvent>(&message)) {
                    events_.push_back(event->message);
                  }
                },
            .on_connected =
                [this](const Challenge& trainer) {
                  absl::MutexLock lock(&mu_);
                  ++connections_;
                  pid_ = trainer.pid;
                },
            .on_disconnected =
                [this](const Status& why) {
                  absl::MutexLock lock(&mu_);
                  disconnected_ = why;
                }};
  }

  template <class Condition>
  bool Await(const Condition& condition) {
    absl::MutexLock lock(&mu_);
    const auto holds = [&] { return condition(*this); };
    return mu_.AwaitWithTimeout(absl::Condition(&holds), kLong);
  }
  bool AwaitStep(int64_t step) {
    return Await([=](const Heard& h) { return h.status_ && h.status_->step == step; });
  }
  bool AwaitEvents(size_t n) {
    return Await([=](const Heard& h) { return h.events_.size() >= n; });
  }
  bool AwaitConnections(int n) {
    return Await([=](const Heard& h) { return h.connections_ >= n; });
  }
  // Why its last connection ended or was refused.
  Status AwaitDisconnect() {
    EXPECT_TRUE(Await([](const Heard& h) { return !h.disconnected_.ok(); }));
    absl::MutexLock lock(&mu_);
    return disconnected_;
  }
  std::vector<std::string> events() {
    absl::MutexLock lock(&mu_);
    return events_;
  }
  RankStatus status() {
    absl::MutexLock lock(&mu_);
    return status_.value_or(RankStatus{});
  }
  int64_t pid() {
    absl::MutexLock lock(&mu_);
    return pid_;
  }
  int connections() {
    absl::MutexLock lock(&mu_);
    return connections_;
  }

 private:
  absl::Mutex mu_;
  std::optional<RankStatus> status_;
  Status disconnected_;
  std::vector<uint64_t> sequences_;
  std::vector<std::string> events_;
  int connections_ = 0;
  int64_t pid_ = 0;
};

class LinkTest : public testing::Test {
 protected:
  LinkTest() {
    EXPECT_OK(MakeFolders(folder_));
    auto server = LinkServer::Start({.socket_path = socket_,
                                     .secret = "secret",
                                     .job = JobId{"job-1"},
                                     .attempt = 2,
                                     .rank = 1,
                                     .handshake_timeout = absl::Milliseconds(300)},
                                    clock_);
    EXPECT_OK(server);
    server_ = *std::move(server);
  }
  ~LinkTest() override {
    server_.reset();
    std::filesystem::remove_all(folder_);
  }

  std::unique_ptr<LinkClient> Agent(Heard* heard, const std::string& name = "agent",
                                    const std::string& secret = "secret",
                                    AttemptNumber attempt = 2) {
    auto client = LinkClient::Start({.socket_path = socket_,
                                     .secret = secret,
                                     .agent = name,
                                     .job = JobId{"job-1"},
                                     .attempt = attempt,
                                     .rank = 1},
                                    heard->Callbacks(), clock_);
    EXPECT_OK(client);
    return *std::move(client);
  }

  void PublishEvents(int first, int last) {
    for (int i = first; i <= last; ++i) {
      server_->Publish(TrainerEvent{.wall_time = 1, .type = "T", .message = std::to_string(i)});
    }
  }

  const std::filesystem::path folder_ =
      std::filesystem::path(testing::TempDir()) / ("link-" + RandomHex(4));
  const std::filesystem::path socket_ = folder_ / "trainer.sock";
  const SystemClock clock_;
  std::unique_ptr<LinkServer> server_;
};

std::vector<std::string> Numbers(int first, int last) {
  std::vector<std::string> numbers;
  for (int i = first; i <= last; ++i) numbers.push_back(std::to_string(i));
  return numbers;
}

// A plain connection, for whoever does not keep the rules.
class RawPeer {
 public:
  explicit RawPeer(const std::filesystem::path& socket) : fd_(*Dial(socket)) {}
  void Send(const std::string& bytes) { EXPECT_OK(WriteAll(fd_.get(), bytes, "raw")); }
  // Reads on until the other side closes; false if it has not after kLong.
  bool AwaitClose() {
    char chunk[4096];
    pollfd fds = {fd_.get(), POLLIN, 0};
    while (poll(&fds, 1, static_cast<int>(absl::ToInt64Milliseconds(kLong))) == 1) {
      if (recv(fd_.get(), chunk, sizeof(chunk), 0) <= 0) return true;
    }
    return false;
  }

 private:
  UniqueFd fd_;
};

TEST_F(LinkTest, CarriesDirectivesDownAndStatusesUp) {
  Heard heard;
  server_->SetStatus({.phase = Phase::kWaiting, .step = 3});
  const auto agent = Agent(&heard);
  agent->SetDirective({.recorded_step = 7, .stop = StopMode::kCheckpoint});
  ASSERT_OK_AND_ASSIGN(
      const Directive directive,
      server_->WaitForDirective([](const Directive& d) { return d.recorded_step == 7; }, kLong));
  EXPECT_EQ(directive.stop, StopMode::kCheckpoint);
  EXPECT_EQ(directive.job, JobId{"job-1"});
  ASSERT_TRUE(heard.AwaitStep(3));
  EXPECT_EQ(heard.status().rank, 1) << "filled in by the server";
  EXPECT_EQ(heard.pid(), getpid());
  EXPECT_TRUE(agent->connected());
  EXPECT_EQ(server_->SinceAgent(), absl::ZeroDuration());
  EXPECT_EQ(server_->LatestDirective(), directive);
}

TEST_F(LinkTest, WaitsForADirectiveOnlySoLong) {
  EXPECT_EQ(server_->LatestDirective(), std::nullopt);
  EXPECT_THAT(
      server_->WaitForDirective([](const Directive&) { return true; }, absl::Milliseconds(10)),
      StatusIs(StatusCode::kDeadlineExceeded, HasSubstr("10ms")));
  EXPECT_GT(server_->SinceAgent(), absl::ZeroDuration());
}

TEST_F(LinkTest, AReconnectLosesNothingAndRepeatsNothing) {
  Heard heard;
  const auto agent = Agent(&heard);
  PublishEvents(1, 50);
  for (int round = 1; round <= 5; ++round) {
    ASSERT_TRUE(heard.AwaitConnections(round));
    // Another agent proves itself: this one is replaced, and dials again, and replaces it in turn.
    Heard other;
    auto usurper = Agent(&other, "usurper-" + std::to_string(round));
    ASSERT_TRUE(other.AwaitConnections(1));
    PublishEvents(50 * round + 1, 50 * round + 50);
    usurper.reset();
    server_->SetStatus({.step = round});
    ASSERT_TRUE(heard.AwaitStep(round));
  }
  ASSERT_TRUE(heard.AwaitEvents(300));
  EXPECT_EQ(heard.events(), Numbers(1, 300));
}

TEST_F(LinkTest, ANewAgentGetsWhatTheLastOneHadNotMadeSafe) {
  Heard first;
  auto agent = Agent(&first);
  agent->SetDirective({.recorded_step = 1});
  PublishEvents(1, 10);
  ASSERT_TRUE(first.AwaitEvents(10));
  agent->AcknowledgeTelemetry(4);
  server_->SetStatus({.step = 1});
  ASSERT_TRUE(first.AwaitStep(1));
  agent->SetDirective({.recorded_step = 2});  // sent after the acknowledgement
  ASSERT_OK(
      server_->WaitForDirective([](const Directive& d) { return d.recorded_step == 2; }, kLong));
  agent.reset();

  PublishEvents(11, 12);
  Heard second;
  agent = Agent(&second, "next agent");
  agent->SetDirective({.recorded_step = 3});  // its number 1 is new, though the last one had 2
  ASSERT_OK(
      server_->WaitForDirective([](const Directive& d) { return d.recorded_step == 3; }, kLong));
  ASSERT_TRUE(second.AwaitEvents(8));
  EXPECT_EQ(second.events(), Numbers(5, 12));
  agent->AcknowledgeTelemetry(12);
  EXPECT_TRUE(server_->Flush(kLong));
}

TEST_F(LinkTest, ANewAgentHearsTheStateThatTheLastOneHadAcknowledged) {
  Heard first;
  auto agent = Agent(&first);
  // The trainer waits until this checkpoint is recorded, and says nothing else meanwhile.
  const WrittenCheckpoint checkpoint = {.step = 7, .key = "checkpoints/job-1/step-00000007-a2"};
  server_->SetStatus({.step = 7, .waiting_for_coordinator = true, .checkpoint = checkpoint});
  ASSERT_TRUE(first.AwaitStep(7));
  ASSERT_TRUE(server_->Flush(kLong)) << "acknowledged";
  agent.reset();  // killed before it told the coordinator

  Heard second;
  agent = Agent(&second, "next agent");
  ASSERT_TRUE(second.AwaitStep(7));
  EXPECT_EQ(second.status().checkpoint, checkpoint);
}

TEST_F(LinkTest, AnAgentThatStartsFirstFindsTheTrainerLater) {
  server_.reset();
  Heard heard;
  const auto agent = Agent(&heard);
  auto server = LinkServer::Start(
      {.socket_path = socket_, .secret = "secret", .job = JobId{"job-1"}, .attempt = 2, .rank = 1},
      clock_);
  ASSERT_OK(server);
  EXPECT_TRUE(heard.AwaitConnections(1));
}

TEST_F(LinkTest, RefusesAWrongSecretAndAnotherAttempt) {
  Heard thief, stale, heard;
  const auto wrong_secret = Agent(&thief, "thief", "guess");
  const auto wrong_attempt = Agent(&stale, "stale", "secret", 1);
  const auto agent = Agent(&heard);
  server_->SetStatus({.step = 9});
  ASSERT_TRUE(heard.AwaitStep(9));
  EXPECT_THAT(thief.AwaitDisconnect(),
              StatusIs(StatusCode::kUnavailable, HasSubstr("has not welcomed this agent")));
  EXPECT_THAT(stale.AwaitDisconnect(),
              StatusIs(StatusCode::kFailedPrecondition,
                       HasSubstr("attempt 2 listens here, wanted rank 1 of job-1 attempt 1")));
  EXPECT_EQ(thief.connections() + stale.connections(), 0);
  EXPECT_EQ(heard.connections(), 1) << "the real one was not disturbed";
}

TEST_F(LinkTest, GarbageClosesOnlyItsOwnConnection) {
  Heard heard;
  const auto agent = Agent(&heard);
  ASSERT_TRUE(heard.AwaitConnections(1));
  std::string too_long =
      EncodeFrame({.channel = Channel::kLink, .payload = std::string(17 << 10, 'x')});
  const std::vector<std::string> openings = {
      std::string(100, 'x'),
      "GET / HTTP/1.1\r\nHost: example\r\n\r\n",
      EncodeFrame({.channel = Channel::kLink, .payload = "not CBOR"}),
      EncodeFrame({.channel = Channel::kControl, .sequence = 1, .payload = Encode(Directive{})}),
      EncodeFrame({.channel = Channel::kLink, .payload = Encode(Hello{.proof = "00"})}),
      too_long.substr(0, kFrameHeaderBytes)};
  for (const std::string& opening : openings) {
    RawPeer peer(socket_);
    peer.Send(opening);
    EXPECT_TRUE(peer.AwaitClose()) << opening.substr(0, 20);
  }
  RawPeer silent(socket_);
  EXPECT_TRUE(silent.AwaitClose()) << "the handshake has a deadline";
  server_->SetStatus({.step = 5});
  EXPECT_TRUE(heard.AwaitStep(5));
  EXPECT_EQ(heard.connections(), 1);
  EXPECT_EQ(server_->LatestDirective(), std::nullopt);
}

// An agent by hand: it has proved itself and may then break the rules.
TEST_F(LinkTest, AnAgentThatBreaksTheRulesLosesItsConnectionAndNothingElse) {
  for (const std::string& bad :
       {std::string(100, 'x'),
        EncodeFrame({.channel = Channel::kRollouts, .sequence = 1, .payload = "x"}),
        EncodeFrame({.channel = Channel::kControl, .sequence = 1, .payload = Encode(Ack{})}),
        EncodeFrame({.channel = Channel::kLink,
        .payload = Encode(Ack{.channel = Channel::kTelemetry, .sequence = 99})})}) {
    ASSERT_OK_AND_ASSIGN(UniqueFd fd, Dial(socket_));
    FrameSocket socket(std::move(fd), kMaxPayloadBytes);
    std::optional<Frame> frame;
    while (!frame.has_value()) {
      pollfd fds = {socket.fd(), POLLIN, 0};
      ASSERT_EQ(poll(&fds, 1, 20'000), 1);
      ASSERT_OK(socket.Read());
      ASSERT_OK_AND_ASSIGN(frame, socket.Next());
    }
    ASSERT_OK_AND_ASSIGN(const Challenge challenge, Decode<Challenge>(frame->payload));
    const Hello hello{.proof = HmacSha256("secret", challenge.nonce), .agent = "odd"};
    socket.Queue({.channel = Channel::kLink, .payload = Encode(hello)});
    ASSERT_OK(socket.Write());
    ASSERT_OK(WriteAll(socket.fd(), bad, "raw"));
    Status read;
    while (read.ok()) {
      pollfd fds = {socket.fd(), POLLIN, 0};
      ASSERT_EQ(poll(&fds, 1, 20'000), 1) << "it should have been closed";
      read = socket.Read();
    }
  }
  Heard heard;
  const auto agent = Agent(&heard);
  PublishEvents(1, 3);
  ASSERT_TRUE(heard.AwaitEvents(3));
  EXPECT_EQ(heard.events(), Numbers(1, 3));
}

TEST_F(LinkTest, LargeMessagesAndManyOfThemPassWhole) {
  Heard heard;
  const auto agent = Agent(&heard);
  const std::string large(60'000, 'a');
  for (int i = 0; i < 200; ++i) {  // 12 MB, more than any socket buffer
    server_->Publish(TrainerEvent{.wall_time = 1, .type = "T", .message = large});
  }
  ASSERT_TRUE(heard.AwaitEvents(200));
  for (const std::string& event : heard.events()) ASSERT_EQ(event, large);
  EXPECT_EQ(server_->dropped(), 0u);
}

TEST_F(LinkTest, WhatNoAgentTookIsSavedForTheExitRecord) {
  PublishEvents(1, 3);
  EXPECT_FALSE(server_->Flush(absl::Milliseconds(5)));
  ASSERT_OK_AND_ASSIGN(const bool saved, server_->SaveUnsentTelemetry(folder_ / "unsent"));
  EXPECT_TRUE(saved);
  ASSERT_OK_AND_ASSIGN(const auto messages, ReadTelemetryFile(folder_ / "unsent"));
  EXPECT_EQ(messages.size(), 3u);
  EXPECT_EQ(messages[0].sequence, 1u);
}

TEST_F(LinkTest, TheSocketLivesInAClosedFolderAndGoesWithItsServer) {
  EXPECT_TRUE(std::filesystem::exists(socket_));
  server_.reset();
  EXPECT_FALSE(std::filesystem::exists(socket_));
  ASSERT_EQ(chmod(folder_.c_str(), 0755), 0);
  EXPECT_THAT(LinkServer::Start({.socket_path = socket_, .secret = "s"}, clock_),
              StatusIs(StatusCode::kPermissionDenied, HasSubstr("0700")));
}

TEST_F(LinkTest, ASocketPathMayBeLongerThanASockaddr) {
  const auto deep = folder_ / std::string(120, 'd');
  ASSERT_OK(MakeFolders(deep));
  auto server = LinkServer::Start({.socket_path = deep / "s", .secret = "s"}, clock_);
  ASSERT_OK(server);
  EXPECT_OK(Dial(deep / "s"));
}

}  // namespace
}  // namespace trainyard::link
