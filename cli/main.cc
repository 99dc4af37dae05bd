// trainyard: the command line. Words become one call of commands.h.
#include <CLI/CLI.hpp>
#include <cstdio>

#include "cli/commands.h"
#include "cli/completion.h"
#include "cli/exit_code.h"
#include "cli/words.h"
#include "common/standard_streams.h"

namespace trainyard::cli {
namespace {

// Help opens with an example, which stands in the place of CLI11's footer.
class ExampleFirst : public CLI::Formatter {
 public:
  std::string make_description(const CLI::App* app) const override {
    return app->get_footer() + "\n\n" + Formatter::make_description(app);
  }
  std::string make_footer(const CLI::App*) const override { return ""; }
};

CLI::App* JobCommand(CLI::App& parent, const std::string& name, const std::string& help,
                     Words& words, Run* run, Run action) {
  CLI::App* command = Command(parent, name, help, fmt::format("trainyard {} shakespeare", name),
                              run, std::move(action));
  command->add_option("job", words.job, "an id, a unique prefix of one, or a name")->required();
  return command;
}

void AddPlaceOptions(CLI::App& app, Words& words) {
  app.add_option("--home", words.place.home, "where things are kept")->envname("TRAINYARD_HOME");
  app.add_option("--coordinator", words.place.coordinator, "HOST:PORT")
      ->envname("TRAINYARD_COORDINATOR");
  app.add_option("--token-file", words.place.token_file, "default: HOME/tokens/client")
      ->envname("TRAINYARD_TOKEN_FILE");
  app.add_option("--tls-ca", words.place.tls_ca, "CA certificate of a coordinator with TLS")
      ->envname("TRAINYARD_TLS_CA");
  app.add_option("--tls-cert", words.place.tls_cert, "our certificate, where mTLS asks for one")
      ->envname("TRAINYARD_TLS_CERT");
  app.add_option("--tls-key", words.place.tls_key, "its key")->envname("TRAINYARD_TLS_KEY");
  app.add_option("-o,--output", words.output, "table, wide, json, yaml or name");
}

void AddSubmit(CLI::App& app, Words& w, Run* run) {
  CLI::App* submit =
      Command(app, "submit", "submit a job file and follow it",
              "trainyard submit examples/jobs/shakespeare.yaml --set train.max_steps=100", run,
              [&w](Format f) { return Submit(w.place, w.submit, f); });
  submit
      ->add_option("file", w.submit.file,
                   "job file (YAML or JSON), or a job as `describe -o json` shows it")
      ->required();
  submit->add_option("--set", w.submit.set, "override a field: a.b=c")->take_all();
  submit->add_flag("--no-wait", w.submit.no_wait, "print the id and return");
  submit->add_flag("--wait", w.submit.quiet_wait, "say nothing till the end");
  submit->add_flag("--dry-run", w.submit.dry_run, "check it at the coordinator, store nothing");
  submit->add_option("--request-id", w.submit.request_id, "a repeat with the same id is harmless");
}

void AddPlan(CLI::App& app, Words& w, Run* run) {
  CLI::App* plan = Command(app, "plan", "what a job takes: memory by part, tokens, does it fit",
                           "trainyard plan examples/jobs/shakespeare.yaml --memory 8GiB", run,
                           [&w](Format f) { return Plan(w.plan, f); });
  plan->add_option("file", w.plan.file, "job file (YAML)")->required();
  plan->add_option("--set", w.plan.set, "override a field: a.b=c")->take_all();
  plan->add_option("--memory", w.plan.memory,
                   "of the host: 8GiB, 512MiB; default: what this machine has available");
  plan->add_option("--ranks-on-host", w.plan.ranks_on_host,
                   "ranks that share it; default: all of the job's")
      ->check(CLI::PositiveNumber);
  plan->add_option("--teraflops", w.plan.teraflops,
                   "what a rank sustains, in 10^12 operations a second, to estimate the time")
      ->check(CLI::PositiveNumber);
  plan->add_flag("--measure", w.plan.measure,
                 "time one and two whole layers anew, rather than a slice that is kept");
}

void AddJobCommands(CLI::App& app, Words& w, Run* run) {
  CLI::App* list = Command(app, "list", "jobs, newest first", "trainyard list --state RUNNING", run,
                           [&w](Format f) { return List(w.place, w.list, f); });
  list->alias("ps");
  list->add_option("--state", w.list.state, "only jobs in this state");
  list->add_option("--name", w.list.name, "only jobs of this name");
  list->add_option("--limit", w.list.limit, "how many at most");
  JobCommand(app, "get", "one job as a line", w, run,
             [&w](Format f) { return Get(w.place, w.job, f); });
  JobCommand(app, "describe", "one job with attempts and resolved spec", w, run,
             [&w](Format f) { return Describe(w.place, w.job, f); });
  CLI::App* events =
      Command(app, "events", "what happened, in order", "trainyard events shakespeare", run,
              [&w](Format f) { return Events(w.place, w.job, f); });
  events->add_option("job", w.job, "all jobs when left out (needs role operator)");
  JobCommand(app, "explain", "why it waits, why it died", w, run,
             [&w](Format f) { return Explain(w.place, w.job, f); });
  JobCommand(app, "watch", "live table until it ends", w, run, [&w](Format f) {
    return IsData(f) ? NoJson("watch", "; wait has, at the end") : Watch(w.place, w.job);
  });
  JobCommand(app, "wait", "return when it has ended", w, run, [&w](Format f) {
    return Wait(w.place, w.job, w.timeout_seconds, f);
  })->add_option("--timeout", w.timeout_seconds, "seconds; exit 124 when they pass");
  JobCommand(app, "cancel", "stop it for good, with a checkpoint of its last step", w, run,
             [&w](Format f) { return Cancel(w.place, w.job, w.now, f); })
      ->add_flag("--now", w.now, "without a last checkpoint");
  JobCommand(app, "retry", "a new attempt of a failed job, from its last checkpoint", w, run,
             [&w](Format f) { return Retry(w.place, w.job, w.retry_set, f); })
      ->add_option("--set", w.retry_set,
                   "go on with another value of a field that may change: train.max_steps=200")
      ->take_all();
  CLI::App* logs = Command(app, "logs", "what the ranks print",
                           "trainyard logs shakespeare -f --rank 0", run, [&w](Format f) {
                             return IsData(f) ? NoJson("logs", "; they are the ranks' own lines")
                                              : Logs(w.place, w.logs);
                           });
  logs->add_option("job", w.logs.job, "an id, a unique prefix of one, or a name")->required();
  logs->add_flag("-f,--follow", w.logs.follow, "go on until the job ends");
  logs->add_option("--rank", w.logs.rank, "only this rank");
  logs->add_option("--attempt", w.logs.attempt, "only this attempt");
  logs->add_option("--tail", w.logs.tail_bytes, "only the last so many bytes");
  logs->add_option("--since", w.logs.since_seconds, "only the last so many seconds");
}

void AddDelete(CLI::App& app, Words& w, Run* run) {
  CLI::App* deleting =
      Command(app, "delete", "take jobs that have ended away, with their checkpoints and curves",
              "trainyard delete shakespeare-k3x9", run,
              [&w](Format f) { return Delete(w.place, w.removal, f); });
  deleting->add_option("jobs", w.removal.refs, "ids, unique prefixes of one, or names")->required();
  deleting->add_flag("-y,--yes", w.removal.yes, "do not ask");
}

void AddMetricsCommands(CLI::App& app, Words& w, Run* run) {
  const std::string example = "trainyard metrics export shakespeare --tensorboard logs/";
  CLI::App* metrics = Command(app, "metrics", "a job's curves", example, run, nullptr);
  metrics->require_subcommand(1);
  CLI::App* exporting = Command(
      *metrics, "export", "write them for TensorBoard or as CSV", example, run, [&w](Format f) {
        return IsData(f) ? NoJson("metrics export", "; --csv - has columns")
                         : MetricsExport(w.place, w.metrics);
      });
  exporting->add_option("job", w.metrics.job, "an id, a unique prefix of one, or a name")
      ->required();
  exporting->add_option("--tensorboard", w.metrics.tensorboard, "TensorBoard's log folder");
  exporting->add_option("--csv", w.metrics.csv, "file; - is stdout");
  exporting->add_option("--metric", w.metrics.names, "only this one; may be given again")
      ->take_all();
  exporting->add_option("--max-points", w.metrics.max_points, "thin each curve to so many")
      ->check(CLI::NonNegativeNumber);
}

void AddCheckpointCommands(CLI::App& app, Words& w, Run* run) {
  CLI::App* checkpoint = Command(app, "checkpoint", "recorded checkpoints",
                                 "trainyard checkpoint list shakespeare", run, nullptr);
  checkpoint->require_subcommand(1);
  Command(*checkpoint, "list", "all of a job", "trainyard checkpoint list shakespeare", run,
          [&w](Format f) { return CheckpointList(w.place, w.job, f); })
      ->add_option("job", w.job, "an id, a unique prefix of one, or a name")
      ->required();
  const auto add = [&](const char* name, const char* help, Run action, const char* more = "") {
    CLI::App* command =
        Command(*checkpoint, name, help,
                fmt::format("trainyard checkpoint {} shakespeare@latest{}", name, more), run,
                std::move(action));
    command->add_option("ref", w.job, "JOB, JOB@latest, JOB@STEP, also with job: in front")
        ->required();
    return command;
  };
  add("describe", "one with its files",
      [&w](Format f) { return CheckpointDescribe(w.place, w.job, f); });
  add("verify", "compare every byte with the recorded digests",
      [&w](Format f) { return CheckpointVerify(w.place, w.job, f); });
  CLI::App* deleting = Command(*checkpoint, "delete", "take some away",
                               "trainyard checkpoint delete shakespeare@400", run,
                               [&w](Format f) { return CheckpointDelete(w.place, w.removal, f); });
  deleting->add_option("refs", w.removal.refs, "JOB@STEP, JOB@latest")->required();
  deleting->add_flag("-y,--yes", w.removal.yes, "do not ask");
  add(
      "export", "copy one out as a Hugging Face folder",
      [&w](Format f) {
        return IsData(f) ? NoJson("checkpoint export", "")
                         : CheckpointExport(w.place, w.job, w.folder);
      },
      " --to model/")
      ->add_option("--to", w.folder, "folder to make")
      ->required();
}

void AddEvaluate(CLI::App& app, Words& w, Run* run) {
  Command(app, "evaluate", "the report of a job of kind evaluate",
          "trainyard evaluate wikitext-perplexity -o json", run,
          [&w](Format f) { return Evaluate(w.place, w.job, f); })
      ->add_option("job", w.job, "an id, a unique prefix of one, or a name")
      ->required();
}

void AddClusterCommands(CLI::App& app, Words& w, Run* run) {
  CLI::App* up =
      Command(app, "up", "a local cluster in the foreground", "trainyard up --workers 2", run,
              [&w](Format f) { return IsData(f) ? NoJson("up", "") : Up(w.place, w.up); });
  up->add_option("--workers", w.up.workers)->check(CLI::Range(1, 64));
  up->add_option("--slots-per-worker", w.up.slots_per_worker)->check(CLI::Range(1, 1024));
  up->add_option("--grpc-port", w.up.grpc_port, "0: any free one")->check(CLI::Range(0, 65535));
  up->add_option("--http-port", w.up.http_port, "0: any free one")->check(CLI::Range(0, 65535));
  CLI::App* worker =
      Command(app, "worker", "the hosts of the cluster", "trainyard worker list", run, nullptr);
  worker->require_subcommand(1);
  Command(*worker, "list", "workers and their slots", "trainyard worker list", run,
          [&w](Format f) { return WorkerList(w.place, f); });
  Command(app, "du", "what jobs, data and records take on the coordinator's disk", "trainyard du",
          run, [&w](Format f) { return DiskUsage(w.place, f); });
  Command(app, "doctor", "looks for what commonly goes wrong, here or with a model",
          "trainyard doctor smollm2/", run,
          [&w](Format f) {
            if (w.tool.model.empty() && IsData(f))
              return NoJson("doctor", "; its exit code is 1 when something is wrong");
            return w.tool.model.empty() ? Doctor(w.place) : ModelDoctor(w.place, w.tool, f);
          })
      ->add_option(
          "model", w.tool.model,
          "instead: a folder, a .gguf file or a job's model (JOB@latest), whose parts must fit");
  CLI::App* completion =
      Command(app, "completion", "prints a completion script",
              "source <(trainyard completion bash)", run, [&app, &w](Format f) {
                return IsData(f) ? NoJson("completion", "") : PrintCompletion(app, w.shell);
              });
  completion->add_option("shell", w.shell, "bash, zsh or fish")->required();
}

// 0 says that what was asked for was told.
int Finished(int code) {
  const Status told = FinishStdout();
  return code == kOk && !told.ok() ? Fail(told) : code;
}

int Main(int argc, char** argv) {
  CLI::App app("Trainyard trains language models as a service.", "trainyard");
  app.footer("Example: trainyard up &   trainyard submit examples/jobs/shakespeare.yaml");
  app.formatter(std::make_shared<ExampleFirst>());
  Words words;
  Run run;
  app.require_subcommand(1);
  app.fallthrough();
  app.set_version_flag("--version", "trainyard " TRAINYARD_VERSION);
  AddPlaceOptions(app, words);
  AddSubmit(app, words, &run);
  AddPlan(app, words, &run);
  AddJobCommands(app, words, &run);
  AddDelete(app, words, &run);
  AddMetricsCommands(app, words, &run);
  AddCheckpointCommands(app, words, &run);
  AddEvaluate(app, words, &run);
  AddToolCommands(app, words, &run);
  AddClusterCommands(app, words, &run);
  try {
    app.parse(argc, argv);
  } catch (const CLI::Success& success) {  // --help, --version
    return Finished(app.exit(success));
  } catch (const CLI::ParseError& error) {
    const Mistake mistake = FindMistake(app, {argv + 1, argv + argc});
    if (mistake.word.empty())
      std::fprintf(stderr, "error: %s\n", error.what());
    else
      std::fprintf(stderr, "error: there is no %s\n", mistake.word.c_str());
    if (!mistake.meant.empty()) std::fprintf(stderr, "  did you mean: %s\n", mistake.meant.c_str());
    std::fprintf(stderr, "  see: trainyard --help\n");
    return kUsage;
  }
  const auto format = ParseFormat(words.output);
  return Finished(format.ok() ? run(*format) : Fail(format.status()));
}

}  // namespace
}  // namespace trainyard::cli

int main(int argc, char** argv) {
  trainyard::HoldStandardStreams();
  return trainyard::cli::Main(argc, argv);
}
