#include "worker/parallel/rendezvous.h"

#include <gmock/gmock.h>
#include <sys/socket.h>

#include <atomic>

#include "common/require.h"
#include "common/thread.h"
#include "tests/support/status_matchers.h"
#include "worker/parallel/connect.h"
#include "worker/parallel/segment.h"
#include "worker/parallel/socket_address.h"

namespace trainyard::worker {
namespace {

using testing::AllOf;
using testing::HasSubstr;

constexpr char kSecret[] = "0123456789abcdef";

struct Listeners {
  explicit Listeners(int n) {
    for (int i = 0; i < n; ++i) {
      auto listener = PeerListener::Open();
      REQUIRE(listener.ok());
      addresses.push_back(listener->address());
      listeners.push_back(*std::move(listener));
    }
  }
  std::vector<PeerListener> listeners;
  std::vector<std::string> addresses;
};

// A connection to `address` that has sent `bytes`.
UniqueFd Stranger(const std::string& address, const std::string& bytes) {
  const auto parsed = ParseSocketAddress(address);
  REQUIRE(parsed.ok());
  UniqueFd fd(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  REQUIRE(::connect(fd.get(), parsed->get(), parsed->length) == 0);
  REQUIRE(WriteAll(fd.get(), bytes, "stranger").ok());
  return fd;
}

TEST(PeerListener, SaysWhereItListens) {
  ASSERT_OK_AND_ASSIGN(const PeerListener listener, PeerListener::Open());
  EXPECT_THAT(listener.address(), testing::MatchesRegex("127\\.0\\.0\\.1:[0-9]+"));
  EXPECT_THAT(PeerListener::Open("localhost"),
              StatusIs(StatusCode::kInvalidArgument, HasSubstr("\"localhost\"")));
}

TEST(SocketAddress, ReadsNumericAddressesOnly) {
  for (const char* good : {"127.0.0.1:1", "10.0.0.7:65535", "[::1]:80"}) {
    ASSERT_OK_AND_ASSIGN(const SocketAddress address, ParseSocketAddress(good));
    EXPECT_EQ(FormatSocketAddress(address), good);
  }
  for (const char* bad : {"", ":80", "127.0.0.1", "127.0.0.1:", "127.0.0.1:0", "127.0.0.1:65536",
                          "127.0.0.1:8x", "host:80", "127.0.0.1:-1"})
    EXPECT_EQ(ParseSocketAddress(bad).status().code(), StatusCode::kInvalidArgument) << bad;
}

TEST(Rendezvous, MeetsThroughACrowdOfStrangers) {
  Listeners at(2);
  std::vector<UniqueFd> strangers;
  for (const std::string& address : at.addresses)
    for (int i = 0; i < 40; ++i) {
      strangers.push_back(Stranger(address, ""));                     // says nothing
      strangers.push_back(Stranger(address, std::string(500, 'z')));  // garbage
      strangers.push_back(Stranger(address, "TRYRANK2"));             // begins like one of us
    }
  StatusOr<Meeting> other;
  Thread peer("peer", [&] {
    other = Meet(at.listeners[1], at.addresses, 1, kSecret, "", absl::Seconds(20));
  });
  const auto first = Meet(at.listeners[0], at.addresses, 0, kSecret, "hello", absl::Seconds(20));
  peer.Join();
  ASSERT_OK(first);
  ASSERT_OK(other);
  EXPECT_EQ(other->note, "hello");
  EXPECT_TRUE(first->connections[1].valid());
  EXPECT_FALSE(first->connections[0].valid());
}

TEST(Rendezvous, NamesThePeersThatDoNotCome) {
  Listeners at(3);
  EXPECT_THAT(Meet(at.listeners[1], at.addresses, 1, kSecret, "", absl::Milliseconds(100)),
              StatusIs(StatusCode::kDeadlineExceeded,
                       AllOf(HasSubstr("rank 0 at " + at.addresses[0]),
                             HasSubstr("rank 2 at " + at.addresses[2] + " (it did not call)"))));
}

TEST(Rendezvous, IsGivenUpWithin200Milliseconds) {
  Listeners at(2);
  for (const int rank : {0, 1}) {  // one waits to be called, the other dials
    std::atomic<bool> enough = false;
    absl::Time told;
    Thread impatient("impatient", [&] {
      absl::SleepFor(absl::Milliseconds(250));
      told = absl::Now();
      enough = true;
    });
    EXPECT_THAT(Meet(at.listeners[static_cast<size_t>(rank)], at.addresses, rank, kSecret, "",
                     absl::Minutes(1), [&] { return enough.load(); }),
                StatusIs(StatusCode::kCancelled, HasSubstr(fmt::format("rank {} at", 1 - rank))));
    impatient.Join();
    EXPECT_LT(absl::Now() - told, absl::Milliseconds(200));
  }
}

TEST(Rendezvous, IsNotEvenBegunWhenItIsGivenUpAlready) {
  Listeners at(2);
  EXPECT_THAT(
      Meet(at.listeners[0], at.addresses, 0, kSecret, "", absl::Minutes(1), [] { return true; }),
      StatusIs(StatusCode::kCancelled, HasSubstr("waits no longer")));
}

TEST(Rendezvous, SaysThatNobodyListensThere) {
  Listeners at(2);
  at.listeners.erase(at.listeners.begin());
  EXPECT_THAT(Meet(at.listeners[0], at.addresses, 1, kSecret, "", absl::Milliseconds(200)),
              StatusIs(StatusCode::kDeadlineExceeded, HasSubstr("refused")));
}

TEST(Rendezvous, DoesNotMeetAPeerWithAnotherSecret) {
  Listeners at(2);
  Thread peer("peer", [&] {
    EXPECT_FALSE(
        Meet(at.listeners[1], at.addresses, 1, "another secret!!", "", absl::Milliseconds(300))
            .ok());
  });
  EXPECT_THAT(Meet(at.listeners[0], at.addresses, 0, kSecret, "", absl::Milliseconds(300)),
              StatusIs(StatusCode::kDeadlineExceeded, HasSubstr("rank 1")));
}

TEST(Rendezvous, SaysWhenTwoProcessesAreTheSameRank) {
  Listeners at(3);
  std::vector<Thread> twins;
  for (int i = 0; i < 2; ++i)
    twins.emplace_back("twin", [&] {
      EXPECT_FALSE(Meet(at.listeners[1], at.addresses, 1, kSecret, "", absl::Seconds(1)).ok());
    });
  EXPECT_THAT(Meet(at.listeners[0], at.addresses, 0, kSecret, "", absl::Seconds(10)),
              StatusIs(StatusCode::kInvalidArgument, HasSubstr("take themselves for rank 1")));
}

TEST(Rendezvous, ChecksItsArguments) {
  Listeners at(2);
  const auto meet = [&](std::vector<std::string> addresses, int rank, const char* secret) {
    return Meet(at.listeners[0], addresses, rank, secret, "", absl::Seconds(1)).status().code();
  };
  EXPECT_EQ(meet(at.addresses, 2, kSecret), StatusCode::kInvalidArgument);
  EXPECT_EQ(meet(at.addresses, -1, kSecret), StatusCode::kInvalidArgument);
  EXPECT_EQ(meet(at.addresses, 0, "short"), StatusCode::kInvalidArgument);
  EXPECT_EQ(meet({at.addresses[0], "nonsense"}, 0, kSecret), StatusCode::kInvalidArgument);
}

TEST(Segment, OpensOnlyTheMemoryItWasToldOf) {
  ASSERT_OK_AND_ASSIGN(const auto segment, Segment::Create(2));
  ASSERT_OK_AND_ASSIGN(const auto same, Segment::Open(segment->location(), 2));
  segment->rank(1).called.value.store(7);
  EXPECT_EQ(same->rank(1).called.value.load(), 7u);
  ASSERT_OK_AND_ASSIGN(const auto other, Segment::Create(2));
  const std::string mixed = segment->location().substr(0, segment->location().rfind(' ')) +
                            other->location().substr(other->location().rfind(' '));
  EXPECT_THAT(Segment::Open(mixed, 2),
              StatusIs(StatusCode::kInvalidArgument, HasSubstr("not the memory")));
  EXPECT_THAT(Segment::Open(segment->location(), 3),
              StatusIs(StatusCode::kInvalidArgument, HasSubstr("3 ranks")));
  for (const char* bad : {"", "x", "1", "-1 3 t", "1 -3 t"})
    EXPECT_EQ(Segment::Open(bad, 2).status().code(), StatusCode::kInvalidArgument) << bad;
}

}  // namespace
}  // namespace trainyard::worker
