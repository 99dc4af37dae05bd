#include "worker/agent/metrics.h"

#include <unistd.h>

#include <algorithm>
#include <filesystem>

#include "common/version.h"

namespace trainyard::worker {
namespace {

class Text {
 public:
  explicit Text(const std::string& worker_id) : worker_(worker_id) {}

  void Add(const char* name, const char* kind, const char* help, double value,
           const std::string& more_labels = "") {
    if (name != last_) text_ += fmt::format("# HELP {} {}\n# TYPE {} {}\n", name, help, name, kind);
    last_ = name;
    text_ += fmt::format("{}{{worker=\"{}\"{}}} {}\n", name, worker_, more_labels, value);
  }
  // The names that every Prometheus client library gives a process; without labels.
  void AddProcess(const char* name, const char* kind, const char* help, double value) {
    text_ +=
        fmt::format("# HELP {} {}\n# TYPE {} {}\n{} {}\n", name, help, name, kind, name, value);
  }
  std::string Finish() { return std::move(text_); }

 private:
  std::string worker_;
  std::string last_;
  std::string text_;
};

void AddProcessNumbers(Text& text) {
  const StatusOr<ProcessStat> stat = ReadProcessStat(::getpid());
  if (!stat.ok()) return;
  const auto ticks_per_second = static_cast<double>(::sysconf(_SC_CLK_TCK));
  text.AddProcess("process_resident_memory_bytes", "gauge", "Memory in use.",
                  static_cast<double>(stat->rss_bytes));
  text.AddProcess("process_cpu_seconds_total", "counter", "CPU time, user and system.",
                  static_cast<double>(stat->cpu_ticks) / ticks_per_second);
  std::error_code error;
  const auto fds = std::distance(std::filesystem::directory_iterator("/proc/self/fd", error), {});
  text.AddProcess("process_open_fds", "gauge", "Open descriptors.", static_cast<double>(fds));
}

}  // namespace

std::string MetricsText(const std::string& worker_id, const AgentNumbers& numbers,
                        const std::vector<LocalSlot>& slots) {
  Text text(worker_id);
  text.Add("trainyard_worker_connected_ratio", "gauge", "1 while the coordinator is reached.",
           numbers.connected ? 1 : 0);
  text.Add("trainyard_worker_heartbeat_age_seconds", "gauge", "Since the coordinator last spoke.",
           absl::ToDoubleSeconds(numbers.since_heard));
  text.Add("trainyard_build_info", "gauge", "The version of this worker; always 1.", 1,
           fmt::format(",version=\"{}\"", kVersion));
  for (const char* device : {"cpu", "cuda"})
    text.Add("trainyard_worker_slots", "gauge", "Slots offered.",
             static_cast<double>(
                 std::count_if(slots.begin(), slots.end(),
                               [&](const LocalSlot& slot) { return slot.device == device; })),
             fmt::format(",device=\"{}\"", device));
  text.Add("trainyard_worker_ranks", "gauge", "Rank processes alive.",
           static_cast<double>(numbers.ranks_alive));
  text.Add("trainyard_worker_ranks_started_total", "counter", "Rank processes started.",
           static_cast<double>(numbers.ranks_started));
  text.Add("trainyard_worker_ranks_ended_total", "counter", "Rank processes that ended.",
           static_cast<double>(numbers.ranks_ended));
  text.Add("trainyard_worker_log_dropped_bytes_total", "counter",
           "Log bytes dropped because they came faster than they could be shipped.",
           static_cast<double>(numbers.log_bytes_dropped));
  text.Add("trainyard_worker_telemetry_acknowledged_total", "counter",
           "Log pieces, point batches and events that are durable at the coordinator.",
           static_cast<double>(numbers.telemetry_acknowledged));
  AddProcessNumbers(text);
  return text.Finish();
}

}  // namespace trainyard::worker
