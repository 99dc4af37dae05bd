// Does it pay to sum gradients while backward goes on? Steps of two or more ranks at a named shape,
// every other one with its gradients summed after backward, the rest during it.
//   bench_rank_steps --preset llama-15m --transport tcp
// To give TCP the speed of a network rather than of loopback, run it in a namespace whose loopback
// is slowed down:
//   ip netns add slow && ip -n slow link set lo up
//   ip netns exec slow tc qdisc add dev lo root tbf rate 2gbit burst 1mb latency 100ms
//   ip netns exec slow build/bin/bench_rank_steps --transport tcp
#include <sys/wait.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <cstdio>
#include <string>

#include "common/clock.h"
#include "common/job_spec/presets.h"
#include "common/require.h"
#include "worker/engine/engine.h"
#include "worker/objective/cross_entropy.h"
#include "worker/parallel/connect.h"

namespace trainyard::worker {
namespace {

struct Options {
  std::string preset = "llama-15m";
  std::string transport = "shared_memory";
  int ranks = 2;
  int threads = 1;
  int64_t vocab = 8000;
  int64_t rows = 4;  // of each rank
  int64_t length = 256;
  int steps = 20;
};

// Shared memory that says it waits for a network, so that the engine overlaps it too.
class Overlapped final : public Collective {
 public:
  explicit Overlapped(Collective* inner) : inner_(inner) {}
  int rank() const override { return inner_->rank(); }
  int size() const override { return inner_->size(); }
  Status AllReduceSum(std::span<float> values, absl::Duration timeout) override {
    return inner_->AllReduceSum(values, timeout);
  }
  Status AllReduceSum(std::span<double> values, absl::Duration timeout) override {
    return inner_->AllReduceSum(values, timeout);
  }
  Status ReduceScatterSum(std::span<const float> values, std::span<float> piece,
                          absl::Duration timeout) override {
    return inner_->ReduceScatterSum(values, piece, timeout);
  }
  Status AllGather(std::span<const std::byte> piece, std::span<std::byte> all,
                   absl::Duration timeout) override {
    return inner_->AllGather(piece, all, timeout);
  }
  Status Broadcast(std::span<std::byte> bytes, int root, absl::Duration timeout) override {
    return inner_->Broadcast(bytes, root, timeout);
  }
  Status Barrier(absl::Duration timeout) override { return inner_->Barrier(timeout); }
  void Abort() override { inner_->Abort(); }
  int64_t sequence() const override { return inner_->sequence(); }
  bool waits_for_network() const override { return true; }

 private:
  Collective* const inner_;
};

StatusOr<ModelConfig> ConfigOf(const Options& options) {
  ASSIGN_OR_RETURN(const Preset* preset, FindPreset(options.preset));
  nlohmann::json json = {{"vocab_size", options.vocab}};
  for (const auto& [key, value] : preset->config) {
    json[key] = nlohmann::json::parse(value, nullptr, /*allow_exceptions=*/false);
    if (json[key].is_discarded()) json[key] = value;
  }
  return ModelConfigFromJson(json);
}

// Rows of ids that look like noise; every place is trained.
Batch NoiseBatch(const Options& options, uint32_t salt) {
  Batch batch;
  uint32_t state = salt * 2654435761U + 1;
  batch.cu_seqlens.push_back(0);
  for (int64_t row = 0; row < options.rows; ++row) {
    for (int64_t i = 0; i < options.length; ++i) {
      state = state * 1664525U + 1013904223U;
      const auto id = static_cast<int32_t>((state >> 8) % static_cast<uint32_t>(options.vocab));
      batch.token_ids_T.push_back(id);
      batch.target_ids_T.push_back(id);
      batch.position_ids_T.push_back(static_cast<int32_t>(i));
    }
    batch.cu_seqlens.push_back(static_cast<int32_t>(batch.token_ids_T.size()));
  }
  return batch;
}

double Median(std::vector<double> values) {
  std::sort(values.begin(), values.end());
  return values[values.size() / 2];
}

Status RunRank(const PeerListener& listener, const std::vector<std::string>& addresses, int rank,
               const std::string& secret, const Options& options) {
  const SystemClock clock;
  const Transport transport = options.transport == "tcp" ? Transport::kTcp : Transport::kBest;
  ASSIGN_OR_RETURN(const auto inner,
                   Connect(listener, addresses, rank, secret, absl::Seconds(20), {}, transport));
  Overlapped collective(inner.get());
  ASSIGN_OR_RETURN(const ModelConfig config, ConfigOf(options));
  ASSIGN_OR_RETURN(const auto engine, Engine::Create(config, {.precision = Precision::kBfloat16,
                                                              .threads = options.threads}));
  const Batch batch = NoiseBatch(options, static_cast<uint32_t>(rank));
  ASSIGN_OR_RETURN(const CrossEntropy objective,
                   CrossEntropy::Over(options.rows * options.length * options.ranks));
  std::vector<double> seconds[2], waits[2];  // summed after, summed during
  for (int step = -2; step < 2 * options.steps; ++step) {
    const bool during = step % 2 != 0;
    RETURN_IF_ERROR(collective.Barrier(absl::Seconds(60)));
    const absl::Duration begin = clock.Elapsed();
    RETURN_IF_ERROR(
        engine->ForwardBackward(batch, objective, {.collective = during ? &collective : nullptr})
            .status());
    ASSIGN_OR_RETURN(const UpdateReport report,
                     engine->Update({.learning_rate = 1e-4},
                                    during ? static_cast<Collective*>(&collective) : inner.get()));
    if (step < 0) continue;
    seconds[during].push_back(absl::ToDoubleSeconds(clock.Elapsed() - begin));
    waits[during].push_back(absl::ToDoubleSeconds(report.summing));
  }
  if (rank != 0) return OkStatus();
  std::printf("%s, %d ranks of %d threads, %lld x %lld tokens each, over %s\n",
              options.preset.c_str(), options.ranks, options.threads,
              static_cast<long long>(options.rows), static_cast<long long>(options.length),
              options.transport.c_str());
  const char* const names[] = {"summed after backward ", "summed during backward"};
  for (const int during : {0, 1})
    std::printf("  %s  %7.1f ms a step, of which %6.1f ms waiting for sums\n", names[during],
                1e3 * Median(seconds[during]), 1e3 * Median(waits[during]));
  std::printf("  after over during        %.2f\n", Median(seconds[0]) / Median(seconds[1]));
  return OkStatus();
}

int Run(const Options& options) {
  std::vector<PeerListener> listeners;
  std::vector<std::string> addresses;
  for (int rank = 0; rank < options.ranks; ++rank) {
    auto listener = PeerListener::Open();
    REQUIRE(listener.ok());
    addresses.push_back(listener->address());
    listeners.push_back(*std::move(listener));
  }
  const std::string secret = RandomHex(32);
  for (int rank = 0; rank < options.ranks; ++rank) {
    if (::fork() != 0) continue;
    const Status status =
        RunRank(listeners[static_cast<size_t>(rank)], addresses, rank, secret, options);
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
  trainyard::worker::Options options;
  CLI::App app{"Steps of several ranks: gradients summed after backward, and during it."};
  app.add_option("--preset", options.preset, "a model of common/job_spec/presets.h");
  app.add_option("--transport", options.transport, "shared_memory or tcp")
      ->check(CLI::IsMember({"shared_memory", "tcp"}));
  app.add_option("--ranks", options.ranks, "processes of this host");
  app.add_option("--threads", options.threads, "of each");
  app.add_option("--vocab", options.vocab, "words");
  app.add_option("--rows", options.rows, "of each rank's batch");
  app.add_option("--length", options.length, "tokens of a row");
  app.add_option("--steps", options.steps, "timed steps of each kind");
  CLI11_PARSE(app, argc, argv);
  return trainyard::worker::Run(options);
}
