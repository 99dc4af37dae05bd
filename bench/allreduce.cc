// Speed of all-reduce between processes of this host, beside its floor in the same run: the time
// one thread per rank needs to read and rewrite its own values once.
//   bench_allreduce [ranks=2] [megabytes=500] [rounds=5] [tcp]
// tcp: as between hosts, here over loopback.
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <vector>

#include "common/clock.h"
#include "common/files.h"
#include "common/require.h"
#include "worker/parallel/connect.h"

namespace trainyard::worker {
namespace {

double Seconds(const Clock& clock, absl::Duration since) {
  return absl::ToDoubleSeconds(clock.Elapsed() - since);
}

// The best and median of `rounds` timings, in GB/s of values per rank.
std::string Rates(double bytes, std::vector<double> seconds) {
  std::sort(seconds.begin(), seconds.end());
  return fmt::format("{:6.2f} best, {:6.2f} median", bytes / seconds.front() / 1e9,
                     bytes / seconds[seconds.size() / 2] / 1e9);
}

Status RunRank(const PeerListener& listener, const std::vector<std::string>& addresses, int rank,
               const std::string& secret, Transport transport, int64_t count, int rounds) {
  const SystemClock clock;
  ASSIGN_OR_RETURN(const auto ranks,
                   Connect(listener, addresses, rank, secret, absl::Seconds(20), {}, transport));
  std::vector<float> values(static_cast<size_t>(count), 1.0f);
  const double bytes = static_cast<double>(values.size() * sizeof(float));
  std::vector<double> reduce, touch, small;
  for (int round = 0; round < rounds; ++round) {
    RETURN_IF_ERROR(ranks->Barrier(absl::Seconds(60)));
    absl::Duration start = clock.Elapsed();
    for (float& value : values) value += 0.5f;
    touch.push_back(Seconds(clock, start));
    RETURN_IF_ERROR(ranks->Barrier(absl::Seconds(60)));
    start = clock.Elapsed();
    RETURN_IF_ERROR(ranks->AllReduceSum(std::span<float>(values), absl::Seconds(60)));
    reduce.push_back(Seconds(clock, start));
    start = clock.Elapsed();
    constexpr int kSmall = 1000;
    for (int i = 0; i < kSmall; ++i)
      RETURN_IF_ERROR(ranks->AllReduceSum(
          std::span<float>(values).first(std::min<size_t>(1, values.size())), absl::Seconds(60)));
    small.push_back(Seconds(clock, start) / kSmall);
  }
  std::sort(small.begin(), small.end());
  if (rank == 0)
    std::printf(
        "%d ranks, %.0f MB of float32 each, over %s\n  all-reduce   GB/s %s\n  read + write GB/s "
        "%s\n"
        "  one number   %.1f us best\n",
        ranks->size(), bytes / 1e6, ranks->waits_for_network() ? "TCP" : "shared memory",
        Rates(bytes, reduce).c_str(), Rates(bytes, touch).c_str(), small.front() * 1e6);
  return OkStatus();
}

int Run(int n_ranks, int64_t count, int rounds, Transport transport) {
  std::vector<PeerListener> listeners;
  std::vector<std::string> addresses;
  for (int rank = 0; rank < n_ranks; ++rank) {
    auto listener = PeerListener::Open();
    REQUIRE(listener.ok());
    addresses.push_back(listener->address());
    listeners.push_back(*std::move(listener));
  }
  const std::string secret = RandomHex(32);
  for (int rank = 0; rank < n_ranks; ++rank) {
    if (::fork() != 0) continue;
    const Status status = RunRank(listeners[static_cast<size_t>(rank)], addresses, rank, secret,
                                  transport, count, rounds);
    if (!status.ok()) std::fprintf(stderr, "rank %d: %s\n", rank, status.ToString().c_str());
    std::fflush(stdout);
    ::_exit(status.ok() ? 0 : 1);
  }
  int failures = 0;
  for (int status = 0; ::wait(&status) > 0;) failures += status != 0;
  return failures == 0 ? 0 : 1;
}

}  // namespace
}  // namespace trainyard::worker

int main(int argc, char** argv) {
  const auto argument = [&](int i, int64_t value) {
    return argc > i ? std::atoll(argv[i]) : value;
  };
  using trainyard::worker::Transport;
  const bool tcp = argc > 4 && std::string_view(argv[4]) == "tcp";
  const Transport transport = tcp ? Transport::kTcp : Transport::kBest;
  return trainyard::worker::Run(static_cast<int>(argument(1, 2)), argument(2, 500) * 250'000,
                                static_cast<int>(argument(3, 5)), transport);
}
