// trainyard-coordinator: flags, wiring, drain on SIGTERM. No logic.
#include <signal.h>
#include <spdlog/spdlog.h>
#include <sys/prctl.h>

#include <CLI/CLI.hpp>
#include <atomic>

#include "common/blob_store.h"
#include "common/clock.h"
#include "common/files.h"
#include "common/http/status_server.h"
#include "common/metrics/registry.h"
#include "common/standard_streams.h"
#include "common/thread.h"
#include "common/version.h"
#include "common/wire/channel.h"
#include "coordinator/coordinator.h"
#include "coordinator/history/history.h"
#include "coordinator/history/newest_metrics.h"
#include "coordinator/home.h"
#include "coordinator/http/job_series.h"
#include "coordinator/service/auth.h"
#include "coordinator/service/server.h"
#include "coordinator/service/sweeper.h"
#include "coordinator/service/usage.h"
#include "coordinator/service/usage_series.h"
#include "coordinator/store/store.h"
#include "coordinator/store/writer.h"

namespace trainyard::coordinator {
namespace {

constexpr absl::Duration kTickPeriod = absl::Milliseconds(200);
constexpr absl::Duration kDrainLimit = absl::Seconds(5);
constexpr absl::Duration kUsagePeriod = absl::Minutes(1);
constexpr int64_t kJobsRestored = 500;
constexpr int64_t kPointBytesRestored = 32 << 10;
constexpr int kExitStore = 70;  // what is in memory is ahead of what is on disk
constexpr char kProbeFolder[] = "probe";

struct Flags {
  std::filesystem::path home;
  std::string grpc = "127.0.0.1:7077";
  std::string http = "127.0.0.1:7078";
  std::string tls_cert, tls_key, tls_client_ca;
  bool insecure = false;
};

[[noreturn]] void Die(const char* what, const Status& status) {
  spdlog::critical("{}: {}. The process ends; what was acknowledged is on disk.", what,
                   MessageOf(status));
  spdlog::default_logger()->flush();
  std::_Exit(kExitStore);
}

// A fresh object that workers read back: proof that they reach the same BlobStore. Its key changes
// with every start, so that workers look again.
StatusOr<CoordinatorOptions> MakeOptions(BlobStore& blobs) {
  CoordinatorOptions options;
  options.epoch = RandomHex(8);
  options.version = kVersion;
  const std::string probe = RandomHex(32);
  options.blob_probe_key = fmt::format("{}/{}", kProbeFolder, options.epoch);
  options.blob_probe_digest = Sha256(probe);
  RETURN_IF_ERROR(blobs.DeletePrefix(kProbeFolder));
  RETURN_IF_ERROR(blobs.Put(options.blob_probe_key, probe));
  return options;
}

// Lists show what was last heard of the newest jobs, as before the restart.
void RestoreMetrics(Coordinator& coordinator, const History& history) {
  JobFilter filter;
  filter.limit = kJobsRestored;
  const auto page = coordinator.List(filter);
  if (!page.ok()) return;
  for (const JobView& view : page->value.jobs) {
    const auto points = history.points().Newest(view.job->id, kPointBytesRestored);
    if (!points.ok()) {
      spdlog::warn("{}: {}", view.job->id.value, MessageOf(points.status()));
      continue;
    }
    NewestMetrics newest = NewestOf(*points);
    if (newest.step >= 0)
      coordinator.RestoreMetrics(view.job->id, newest.step, std::move(newest.values));
  }
}

// For /metrics, which shows what was measured last.
void KeepMeasuring(UsageMeter& usage, StopSignal& stop) {
  do {
    if (const auto measured = usage.Measure(); !measured.ok())
      spdlog::warn("cannot measure the store: {}", MessageOf(measured.status()));
  } while (!stop.WaitFor(kUsagePeriod));
}

StatusServerOptions HttpOptions(const std::string& address, const MetricsRegistry& registry,
                                const TokenTable& tokens, const std::atomic<bool>& serving) {
  StatusServerOptions options;
  options.address = address;
  options.metrics = [&registry] { return registry.Exposition(); };
  options.ready = [&serving] { return serving ? OkStatus() : Unavailable("not serving yet"); };
  options.may_read_metrics = [&tokens](const std::string& token) {
    const auto principal = tokens.Authenticate(token);
    return principal.ok() && principal->kind != TokenKind::kWorker;
  };
  return options;
}

Status Serve(const Flags& flags, const sigset_t& stop_signals) {
  const SystemClock clock;
  ASSIGN_OR_RETURN(const Home home, Home::Open(flags.home));
  ASSIGN_OR_RETURN(const std::unique_ptr<Store> store, Store::Open(home.database()));
  const StoreWriter writer(*store, [](const Status& status) { Die("the store", status); });
  HistoryOptions history_options;
  history_options.on_failure = [](const Status& status) { Die("the history", status); };
  ASSIGN_OR_RETURN(const std::unique_ptr<History> history,
                   History::Open(home.history(), history_options));
  ASSIGN_OR_RETURN(const std::unique_ptr<BlobStore> blobs, DirectoryBlobStore::Open(home.blobs()));
  ASSIGN_OR_RETURN(const std::unique_ptr<TokenTable> tokens, TokenTable::Load(*store));
  RETURN_IF_ERROR(home.MintTokens(*tokens, clock));
  ASSIGN_OR_RETURN(const CoordinatorOptions options, MakeOptions(*blobs));
  ASSIGN_OR_RETURN(const std::unique_ptr<Coordinator> coordinator,
                   Coordinator::Open(options, clock, *store));
  RestoreMetrics(*coordinator, *history);

  MetricsRegistry registry;
  const auto series = std::make_shared<JobSeries>(*coordinator, clock);
  registry.Add(series);
  UsageMeter usage(*blobs, *history, *store, clock);
  const auto usage_series = std::make_shared<UsageSeries>(usage);
  registry.Add(usage_series);
  GrpcServerOptions server_options;
  server_options.address = flags.grpc;
  server_options.tls = {flags.tls_client_ca, flags.tls_cert, flags.tls_key};
  server_options.insecure_i_understand = flags.insecure;
  ASSIGN_OR_RETURN(const std::unique_ptr<GrpcServer> server,
                   GrpcServer::Start(server_options, {*coordinator, *store, *history, *blobs,
                                                      *tokens, registry, clock, usage}));
  std::atomic<bool> serving = true;
  ASSIGN_OR_RETURN(const std::unique_ptr<StatusServer> http,
                   StatusServer::Start(HttpOptions(flags.http, registry, *tokens, serving)));

  StopSignal stop;
  Sweeper sweeper(*coordinator, *store, *blobs, *history, clock);
  Thread ticker("ticker", [&] {
    while (!stop.WaitFor(kTickPeriod)) {
      coordinator->Tick();
      sweeper.Sweep();
    }
  });
  const Thread measuring("usage", [&] { KeepMeasuring(usage, stop); });  // joins after the drain
  RETURN_IF_ERROR(home.WriteAddresses(server->address(), http->address()));
  spdlog::info("serving gRPC on {}, HTTP on {}", server->address(), http->address());

  int signal = 0;
  ::sigwait(&stop_signals, &signal);
  spdlog::info("signal {}: draining", signal);
  serving = false;
  stop.Stop();
  ticker.Join();
  server->Drain(kDrainLimit);
  return OkStatus();
}

// Only makes the credentials: for machines where another hand starts the daemon.
Status Init(const Flags& flags) {
  const SystemClock clock;
  ASSIGN_OR_RETURN(const Home home, Home::Open(flags.home));
  ASSIGN_OR_RETURN(const std::unique_ptr<Store> store, Store::Open(home.database()));
  ASSIGN_OR_RETURN(const std::unique_ptr<TokenTable> tokens, TokenTable::Load(*store));
  RETURN_IF_ERROR(home.MintTokens(*tokens, clock));
  for (const TokenKind kind : {TokenKind::kClient, TokenKind::kWorker, TokenKind::kScraper})
    std::printf("%s\n", home.token_file(kind).c_str());
  return OkStatus();
}

int Main(int argc, char** argv) {
  Flags flags;
  CLI::App app("The coordinator of a Trainyard cluster: jobs, schedule, records.",
               "trainyard-coordinator");
  app.require_subcommand(1);
  app.fallthrough();
  app.add_option("--home", flags.home, "database, history, tokens and blobs")->required();
  CLI::App* serve = app.add_subcommand("serve", "run until SIGTERM");
  serve->add_option("--grpc", flags.grpc, "HOST:PORT for clients and workers; port 0: any");
  serve->add_option("--http", flags.http, "HOST:PORT for /metrics, /healthz, /readyz; port 0: any");
  serve->add_option("--tls-cert", flags.tls_cert, "PEM file; needed beyond loopback");
  serve->add_option("--tls-key", flags.tls_key, "PEM file");
  serve->add_option("--tls-client-ca", flags.tls_client_ca,
                    "clients must show a certificate of it");
  serve->add_flag("--insecure-i-understand", flags.insecure, "plain text beyond loopback");
  app.add_subcommand("init", "make the credentials and print where they are");
  try {
    app.parse(argc, argv);
  } catch (const CLI::Success& success) {
    return app.exit(success);
  } catch (const CLI::ParseError& error) {
    std::fprintf(stderr, "error: %s\n  see: trainyard-coordinator --help\n", error.what());
    return 2;
  }

  // Blocked before any thread starts, so that sigwait alone sees them.
  sigset_t stop_signals;
  sigemptyset(&stop_signals);
  sigaddset(&stop_signals, SIGTERM);
  sigaddset(&stop_signals, SIGINT);
  sigaddset(&stop_signals, SIGHUP);  // the terminal is gone
  pthread_sigmask(SIG_BLOCK, &stop_signals, nullptr);
  ::signal(SIGPIPE, SIG_IGN);
  spdlog::flush_on(spdlog::level::info);
  const Status status = serve->parsed() ? Serve(flags, stop_signals) : Init(flags);
  if (status.ok()) return 0;
  std::fprintf(stderr, "error: %s\n", MessageOf(status).c_str());
  return 1;
}

}  // namespace
}  // namespace trainyard::coordinator

int main(int argc, char** argv) {
  trainyard::HoldStandardStreams();
  return trainyard::coordinator::Main(argc, argv);
}
