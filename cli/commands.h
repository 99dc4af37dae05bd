// One function per command; main.cc parses the words and calls one of these. Each returns an exit
// code of exit_code.h, data on stdout, words on stderr.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "cli/client.h"
#include "cli/output.h"

namespace trainyard::cli {

struct SubmitOptions {
  std::string file;
  std::vector<std::string> set;  // "a.b=c"
  bool no_wait = false;          // print the id and return
  bool quiet_wait = false;       // --wait: say nothing till the end
  bool dry_run = false;          // validate at the coordinator, store nothing
  std::string request_id;        // empty: a random one
};
int Submit(const Place& place, const SubmitOptions& options, Format format);

struct PlanOptions {
  std::string file;
  std::vector<std::string> set;
  std::string memory;     // of the host, "8GiB"; empty: what this machine has available
  int ranks_on_host = 0;  // that share it; 0: all of the job's
  double teraflops = 0;   // what a rank sustains; 0: not said
  bool measure = false;   // let the trainer time a micro-batch of one and two layers here
};
// Memory of a rank by part, the arithmetic of the batch, whether it fits and what would; kJobFailed
// when it does not. Asks no coordinator.
int Plan(const PlanOptions& options, Format format);

struct ListOptions {
  std::string state;
  std::string name;
  int limit = 50;
};
int List(const Place& place, const ListOptions& options, Format format);
int Get(const Place& place, const std::string& job, Format format);
int Describe(const Place& place, const std::string& job, Format format);
int Events(const Place& place, const std::string& job, Format format);
int Explain(const Place& place, const std::string& job, Format format);
int Cancel(const Place& place, const std::string& job, bool now, Format format);
// `sets`: "a.b=c", fields that the job goes on with.
int Retry(const Place& place, const std::string& job, const std::vector<std::string>& sets,
          Format format);
struct DeleteOptions {
  std::vector<std::string> refs;  // jobs, or checkpoints as JOB@STEP
  bool yes = false;               // do not ask
};
// Asks on a terminal before anything is deleted; elsewhere it must be told --yes. Stops at the
// first that is refused.
int Delete(const Place& place, const DeleteOptions& options, Format format);
int CheckpointDelete(const Place& place, const DeleteOptions& options, Format format);
// What the coordinator's store takes on its disk, by kind and by job.
int DiskUsage(const Place& place, Format format);
// Waits for the job's end. `timeout_seconds` 0: for ever; kWaitTimedOut when it passes.
int Wait(const Place& place, const std::string& job, double timeout_seconds,
         Format format = Format::kTable);

// Shows the job until it ends: a live table on a terminal, a line per change elsewhere. Ctrl-C
// detaches (kDetached). The exit code is the job's.
int Watch(const Place& place, const std::string& job);

struct LogsOptions {
  std::string job;
  bool follow = false;
  std::optional<int> rank;
  std::optional<int> attempt;
  std::optional<int64_t> tail_bytes;
  double since_seconds = 0;  // only what came in the last so many seconds; 0: all
};
int Logs(const Place& place, const LogsOptions& options);

struct MetricsOptions {
  std::string job;
  std::vector<std::string> names;  // empty: all
  int max_points = 0;              // of each series, thinned evenly; 0: all
  std::string tensorboard;         // log folder; empty: none
  std::string csv;                 // file, "-" for stdout; empty: none
};
// Writes a job's metric points, as far as it has come, for TensorBoard (without the steps that a
// later attempt did over again) and as CSV (with them, marked).
int MetricsExport(const Place& place, const MetricsOptions& options);

int CheckpointList(const Place& place, const std::string& job, Format format);
// `ref`: job, job@step or job@latest, with or without a leading "job:".
int CheckpointDescribe(const Place& place, const std::string& ref, Format format);
int CheckpointVerify(const Place& place, const std::string& ref, Format format);
int CheckpointExport(const Place& place, const std::string& ref, const std::string& folder);

// What a tool of trainyard-trainer is given. A tool without an answer in JSON refuses -o json and
// -o yaml.
struct ToolOptions {
  std::string model;                   // REF: a folder, .gguf, JOB, JOB@latest, job:JOB@400
  std::vector<std::string> options;    // "--name", "value"
  std::vector<std::string> arguments;  // what stands after the model
};
int Generate(const Place& place, const ToolOptions& options, Format format);
int Chat(const Place& place, const ToolOptions& options, Format format);
int ModelDoctor(const Place& place, const ToolOptions& options, Format format);
// `verb`: inspect, import or export.
int ModelTool(const Place& place, const ToolOptions& options, const std::string& verb,
              Format format);
// `verb`: train, encode or decode; `model` of the latter two may be a tokenizer.json.
int TokenizerTool(const Place& place, const ToolOptions& options, const std::string& verb,
                  Format format);
int DataCheck(const ToolOptions& options, Format format);

// The report of a job of kind evaluate: its table, or all of it as JSON.
int Evaluate(const Place& place, const std::string& job, Format format);

int WorkerList(const Place& place, Format format);
int Doctor(const Place& place);

struct UpOptions {
  int workers = 2;
  int slots_per_worker = 1;
  int grpc_port = 7077;  // 0: any free one
  int http_port = 7078;
};
// Runs a whole local cluster in the foreground: restarts a daemon that dies, drains on Ctrl-C.
int Up(const Place& place, const UpOptions& options);

// Says on stderr that `ref` is a file or folder and is taken as such, where a job has that name
// too.
void SayIfAlsoJob(Client& client, const std::string& ref);

// A model as a path on this machine: a folder or file of that name, else the latest recorded
// checkpoint (or the one named) of a job, in place when the BlobStore is here, else downloaded
// under home/cache and checked.
StatusOr<std::filesystem::path> CheckpointFolder(const Place& place, const std::string& ref);

}  // namespace trainyard::cli
