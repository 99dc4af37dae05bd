// doctor: looks at everything that commonly goes wrong and says what to do about it.
#include <sys/statvfs.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdio>
#include <fstream>
#include <thread>

#include "cli/commands.h"
#include "cli/exit_code.h"
#include "common/files.h"

namespace trainyard::cli {
namespace {

enum class Finding { kGood, kNote, kBad };

class Report {
 public:
  void Add(Finding finding, const std::string& what, const std::string& detail) {
    static constexpr const char* kMarks[] = {"ok  ", "note", "BAD "};
    std::printf("%s  %-20s %s\n", kMarks[static_cast<int>(finding)], what.c_str(), detail.c_str());
    if (finding == Finding::kBad) ++bad_;
  }
  int bad() const { return bad_; }

 private:
  int bad_ = 0;
};

void CheckPrograms(Report& report) {
  for (const char* name : {"trainyard-coordinator", "trainyard-worker", "trainyard-trainer"}) {
    const auto path = ProgramFolder() / name;
    if (::access(path.c_str(), X_OK) == 0)
      report.Add(Finding::kGood, name, path.string());
    else
      report.Add(Finding::kBad, name, "not beside this program; run scripts/build");
  }
}

void CheckCpu(Report& report) {
  std::ifstream cpuinfo("/proc/cpuinfo");
  std::string line, flags, model;
  while (std::getline(cpuinfo, line)) {
    if (line.starts_with("flags") && flags.empty()) flags = line + " ";
    if (line.starts_with("model name") && model.empty()) model = line.substr(line.find(':') + 2);
  }
  const auto has = [&](const char* flag) {
    return flags.find(fmt::format(" {} ", flag)) != std::string::npos;
  };
  report.Add(Finding::kGood, "cpu",
             fmt::format("{}, {} threads", model, std::thread::hardware_concurrency()));
  if (has("amx_bf16"))
    report.Add(Finding::kGood, "bf16", "AMX: bf16 products are several times faster than float32");
  else if (has("avx512_bf16"))
    report.Add(Finding::kGood, "bf16", "AVX-512 BF16: bf16 products are about twice as fast");
  else
    report.Add(
        Finding::kNote, "bf16",
        "no bf16 products in hardware; precision auto measures both and will mostly be fp32");
}

void CheckHome(Report& report, const std::filesystem::path& home) {
  if (const Status status = MakeFolders(home); !status.ok()) {
    report.Add(Finding::kBad, "home", MessageOf(status));
    return;
  }
  struct statvfs disk;
  if (::statvfs(home.c_str(), &disk) != 0) {
    report.Add(Finding::kBad, "home", fmt::format("{} cannot be read", home.string()));
    return;
  }
  const double free_bytes = double(disk.f_bavail) * double(disk.f_frsize);
  report.Add(free_bytes > 5e9 ? Finding::kGood : Finding::kNote, "home",
             fmt::format("{}, {} free", home.string(), FormatBytes(free_bytes)));
}

void CheckCluster(Report& report, const Place& place) {
  const auto client = Client::Connect(place);
  if (!client.ok()) {
    report.Add(Finding::kNote, "coordinator", MessageOf(client.status()));
    return;
  }
  const auto workers = (*client)->Call((*client)->jobs(), &v1::JobService::Stub::ListWorkers,
                                       v1::ListWorkersRequest(), /*seconds=*/5);
  if (!workers.ok()) {
    report.Add(Finding::kBad, "coordinator", MessageOf(workers.status()));
    return;
  }
  report.Add(Finding::kGood, "coordinator", (*client)->address());
  int connected = 0, slots = 0;
  for (const v1::Worker& worker : workers->workers()) {
    if (worker.state() != "CONNECTED") continue;
    ++connected;
    slots += worker.slots_size();
  }
  report.Add(connected > 0 ? Finding::kGood : Finding::kBad, "workers",
             connected > 0 ? fmt::format("{} connected, {} slots", connected, slots)
                           : std::string("none connected; jobs will wait. Start one with "
                                         "trainyard-worker, or use `trainyard up`"));
}

}  // namespace

int Doctor(const Place& place) {
  Report report;
  CheckPrograms(report);
  CheckCpu(report);
  CheckHome(report, place.home);
  CheckCluster(report, place);
  if (report.bad() > 0) std::fprintf(stderr, "%d things need attention\n", report.bad());
  return report.bad() == 0 ? kOk : kJobFailed;
}

}  // namespace trainyard::cli
