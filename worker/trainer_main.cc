// trainyard-trainer: one rank of an attempt, or one tool. No gRPC, no protobuf: libtorch exports
// its own protobuf symbols, and a process with both aborts.
#include <signal.h>
#include <spdlog/sinks/stdout_sinks.h>
#include <spdlog/spdlog.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <cstdio>
#include <exception>
#include <functional>
#include <thread>

#include "common/clock.h"
#include "common/standard_streams.h"
#include "worker/engine/memory.h"
#include "worker/loop/by_hand.h"
#include "worker/loop/rank_main.h"
#include "worker/tool/tools.h"

namespace trainyard::worker {
namespace {

// As the command line has them.
enum ExitCode {
  kOk = 0,
  kFailed = 1,
  kUsage = 2,
  kNotFound = 3,
  kDenied = 4,
  kUnavailable = 5,
  kConflict = 6,
  kStopped = 130
};

// Short lines on stderr: "12:00:03.123 info step=10 loss=5.1". No colour, so that a log file of one
// reads like a terminal.
void LogToStderr() {
  auto logger = std::make_shared<spdlog::logger>("trainer",
                                                 std::make_shared<spdlog::sinks::stderr_sink_mt>());
  logger->set_pattern("%H:%M:%S.%e %l %v");
  logger->flush_on(spdlog::level::info);
  spdlog::set_default_logger(std::move(logger));
}

int Fail(const Status& status) {
  if (status.ok()) return kOk;
  std::fprintf(stderr, "error: %s\n", MessageOf(status).c_str());
  if (absl::IsInvalidArgument(status)) return kUsage;
  if (absl::IsNotFound(status)) return kNotFound;
  if (absl::IsPermissionDenied(status)) return kDenied;
  if (absl::IsResourceExhausted(status) || absl::IsUnavailable(status)) return kUnavailable;
  if (absl::IsAlreadyExists(status) || absl::IsFailedPrecondition(status)) return kConflict;
  if (absl::IsAborted(status)) return kStopped;
  return kFailed;
}

int Say(const StatusOr<link::Outcome>& outcome) {
  if (!outcome.ok()) return Fail(outcome.status());
  std::fprintf(stderr, "%s%s%s: %s\n", std::string(link::OutcomeKindName(outcome->kind)).c_str(),
               outcome->reason.empty() ? "" : " ", outcome->reason.c_str(),
               outcome->message.c_str());
  if (outcome->kind == link::OutcomeKind::kStopped) return kStopped;
  return outcome->kind == link::OutcomeKind::kSucceeded ? kOk : kFailed;
}

// A job by hand takes SIGTERM and SIGINT as requests to stop: blocked before any thread starts.
void BlockStopSignals() {
  sigset_t signals;
  sigemptyset(&signals);
  sigaddset(&signals, SIGTERM);
  sigaddset(&signals, SIGINT);
  sigaddset(&signals, SIGHUP);
  pthread_sigmask(SIG_BLOCK, &signals, nullptr);
}

struct Words {
  RankMainOptions rank;
  ByHandOptions by_hand;
  GenerateOptions generate;
  ChatOptions chat;
  PaceOptions pace;
  ScoreToolOptions score;
  TokenizerTrainOptions train;
  DataCheckOptions check;
  ImportOptions import;
  ExportOptions export_to;
  std::filesystem::path tokenizer, model;
  std::string text;
  bool parse_special = true;
  bool json = false;
  std::vector<int32_t> ids;
};

// The command that was chosen; main calls it once parsing is done.
using Run = std::function<int()>;

CLI::App* Command(CLI::App& parent, const std::string& name, const std::string& help,
                  const std::string& example, Run* run, Run action) {
  CLI::App* command = parent.add_subcommand(name, help);
  command->footer("Example: trainyard-trainer " + example);
  if (action) {
    command->callback([run, action = std::move(action)] { *run = action; });
  } else {
    command->require_subcommand(1);
  }
  return command;
}

void AddRank(CLI::App& app, Words& w, Run* run) {
  CLI::App* rank =
      Command(app, "rank", "one rank of an attempt; started by a worker",
              "rank --spec rank.json --secret-fd 3", run, [&w] { return RankMain(w.rank); });
  rank->add_option("--spec", w.rank.spec_file, "what this rank is to do")->required();
  rank->add_option("--secret-fd", w.rank.secret_fd, "descriptor with the agent's secret")
      ->required();
  rank->add_option("--agent-timeout-seconds", w.rank.agent_timeout_seconds,
                   "write a checkpoint and end when no agent dials for so long");
}

void AddRun(CLI::App& app, Words& w, Run* run) {
  CLI::App* by_hand = Command(app, "run", "run a job here and now, on one rank",
                              "run job.yaml --out model/", run, [&w] {
                                BlockStopSignals();
                                return Say(RunByHand(w.by_hand));
                              });
  by_hand->add_option("job", w.by_hand.job_file, "job file (YAML) or spec (JSON)")->required();
  by_hand->add_option("--out", w.by_hand.out, "folder for everything it makes")->required();
  by_hand->add_flag("--resume", w.by_hand.resume, "go on from the newest checkpoint in --out");
  by_hand->add_option("--set", w.by_hand.set, "field=value over the job file's");
}

void AddOpen(CLI::App& command, OpenOptions& open) {
  open.threads = static_cast<int>(std::max(1u, std::thread::hardware_concurrency()));
  command.add_option("--threads", open.threads);
  command
      .add_option(
          "--precision", open.precision,
          "of the weights: fp32, bf16 in half the memory, or auto: the faster one, measured here")
      ->check(CLI::IsMember({"fp32", "bf16", "auto"}));
}

void AddSampling(CLI::App& command, SamplingWords& words) {
  words.now = SystemClock().Now();
  command.add_option("--max-new-tokens", words.max_new_tokens);
  command.add_option("--temperature", words.temperature, "0: the likeliest token");
  command.add_option("--top-k", words.top_k, "0: off");
  command.add_option("--top-p", words.top_p);
  command.add_option("--min-p", words.min_p, "share of the likeliest token's probability");
  command.add_option("--repetition-penalty", words.repetition_penalty, "1: none");
  command.add_option("--stop", words.stop, "a text that ends an answer; may be repeated")
      ->allow_extra_args(false);
  command.add_option("--seed", words.seed);
}

void AddNoParseSpecial(CLI::App& command, bool& parse_special) {
  command.add_flag_callback(
      "--no-parse-special", [&parse_special] { parse_special = false; },
      "a special token spelled out in a text is text like any other");
}

// A token is about four bytes of text; a file's prompts go on together.
OpenOptions::Use UseOf(const GenerateOptions& options) {
  const size_t bytes = options.prompt.size() + options.chat.value_or("").size();
  return {.reads = std::max<int64_t>(1, static_cast<int64_t>(bytes / 4)),
          .decodes = std::max<int64_t>(0, options.sampling.max_new_tokens),
          .rows = options.prompts.empty() ? 1 : 16};
}

void AddGenerate(CLI::App& tool, Words& w, Run* run) {
  CLI::App* generate = Command(tool, "generate", "let a model write",
                               "tool generate --model model/ --prompt \"HAMLET.\"", run, [&w] {
                                 w.generate.open.use = UseOf(w.generate);
                                 return Fail(Generate(w.generate));
                               });
  generate->add_option("--model", w.generate.model, "a Hugging Face folder or a .gguf file")
      ->required();
  CLI::Option_group* what = generate->add_option_group("what to go on from");
  what->add_option("--prompt", w.generate.prompt, "text to go on from");
  what->add_option("--chat", w.generate.chat, "a message, put into the model's chat template");
  what->add_option("--prompts", w.generate.prompts, "a file of them: lines, or .jsonl");
  what->require_option(0, 1);
  AddNoParseSpecial(*generate, w.generate.parse_special);
  generate->add_option("--system", w.generate.system, "with --chat: the system's message");
  AddOpen(*generate, w.generate.open);
  AddSampling(*generate, w.generate.sampling);
  CLI::App* chat = Command(tool, "chat", "talk with a model", "tool chat model/", run,
                           [&w] { return Fail(Chat(w.chat)); });
  chat->add_option("model", w.chat.model, "a Hugging Face folder or a .gguf file")->required();
  chat->add_option("--system", w.chat.system, "the system's message");
  AddOpen(*chat, w.chat.open);
  AddSampling(*chat, w.chat.sampling);
}

void AddDoctor(CLI::App& tool, Words& w, Run* run) {
  CLI::App* doctor = Command(tool, "doctor", "whether a model's parts are there and fit together",
                             "tool doctor model/", run, [&w]() -> int {
                               const StatusOr<int> problems = ExamineModel(w.model);
                               if (!problems.ok()) return Fail(problems.status());
                               return *problems == 0 ? kOk : kFailed;
                             });
  doctor->add_option("model", w.model, "a Hugging Face folder or a .gguf file")->required();
}

void AddScore(CLI::App& tool, Words& w, Run* run) {
  CLI::App* score = Command(tool, "score", "how likely a model finds texts",
                            "tool score --model model/ pairs.jsonl", run, [&w] {
                              w.score.open.use = {.reads = 512, .decodes = 0, .rows = 1};
                              return Fail(ScoreTool(w.score));
                            });
  score->add_option("--model", w.score.model, "a Hugging Face folder or a .gguf file")->required();
  score
      ->add_option("texts", w.score.texts,
                   "lines of {\"context\", \"continuation\"} or of {\"text\"}")
      ->required();
  score->add_option("--max-length", w.score.max_length, "tokens read at once");
  score->add_flag_callback(
      "--no-bos-twice", [&w] { w.score.bos_twice = false; },
      "a tokenizer that adds BOS does not add it behind the prefix token");
  AddOpen(*score, w.score.open);
}

void AddPace(CLI::App& tool, Words& w, Run* run) {
  CLI::App* pace = Command(tool, "pace", "seconds of a micro-batch and of an update here",
                           "tool pace --config model/config.json --rows 4 --length 512", run,
                           [&w] { return Fail(Pace(w.pace)); });
  pace->add_option("--config", w.pace.config, "config.json of the model")->required();
  pace->add_option("--precision", w.pace.precision, "fp32 or bf16");
  pace->add_option("--recompute", w.pace.recompute, "none, activations or block");
  pace->add_option("--optim", w.pace.optim, "adamw or muon");
  pace->add_option("--learning", w.pace.learning, "share of the places that learn")
      ->check(CLI::Range(0.0, 1.0));
  pace->add_option("--rows", w.pace.rows, "of a micro-batch");
  pace->add_option("--length", w.pace.length, "tokens of a row");
  pace->add_option("--threads", w.pace.threads);
}

void AddPaces(CLI::App& tool, Words& w, Run* run) {
  CLI::App* paces = Command(tool, "paces", "seconds of a probe in fp32 and in bf16",
                            "tool paces '{\"work\": \"training\", ...}'", run,
                            [&w] { return Fail(TellPaces(w.text)); });
  paces->add_option("probe", w.text, "JSON, as a rank or trainyard plan makes it")->required();
}

void AddTextTools(CLI::App& tool, Words& w, Run* run) {
  CLI::App* tokenizer = Command(tool, "tokenizer", "train, encode, decode",
                                "tool tokenizer encode --tokenizer model/ 'some text'", run, {});
  CLI::App* train = Command(*tokenizer, "train", "a tokenizer.json from text",
                            "tool tokenizer train plays/*.txt --vocab-size 4096 --out t.json", run,
                            [&w] { return Fail(TrainTokenizerTool(w.train)); });
  train->add_option("files", w.train.files, "paths or globs")->required();
  train->add_option("--type", w.train.type, "bpe, wordpiece or unigram");
  train->add_option("--vocab-size", w.train.vocab_size);
  train->add_flag("--with-mask", w.train.with_mask, "also <mask>; wordpiece has [MASK] anyway");
  train->add_option("--format", w.train.format, "auto, text or jsonl");
  train->add_option("--text-field", w.train.text_field);
  train->add_option("--out", w.train.out, "tokenizer.json")->required();
  CLI::App* encode = Command(
      *tokenizer, "encode", "text to ids", "tool tokenizer encode --tokenizer model/ 'some text'",
      run, [&w] { return Fail(EncodeTool(w.tokenizer, w.text, w.parse_special, w.json)); });
  encode->add_option("--tokenizer", w.tokenizer, "a tokenizer.json, or a model with one")
      ->required();
  encode->add_option("text", w.text)->required();
  encode->add_flag("--json", w.json);
  AddNoParseSpecial(*encode, w.parse_special);
  CLI::App* decode = Command(*tokenizer, "decode", "ids to text",
                             "tool tokenizer decode --tokenizer model/ 17 4 250", run,
                             [&w] { return Fail(DecodeTool(w.tokenizer, w.ids, w.json)); });
  decode->add_option("--tokenizer", w.tokenizer, "a tokenizer.json, or a model with one")
      ->required();
  decode->add_option("ids", w.ids)->required();
  decode->add_flag("--json", w.json);

  CLI::App* data =
      Command(tool, "data", "look at training data", "tool data check a.jsonl", run, {});
  CLI::App* check = Command(*data, "check", "read files as training would",
                            "tool data check data/*.jsonl --text-field body", run,
                            [&w] { return Fail(CheckData(w.check)); });
  check->add_option("files", w.check.files, "paths, folders or globs")->required();
  check->add_option("--type", w.check.type, "of the largest vocabulary: bpe, wordpiece or unigram");
  check->add_flag("--json", w.check.json);
  check->add_option("--format", w.check.format, "auto, text or jsonl");
  check->add_option("--text-field", w.check.text_field);
}

void AddModelTools(CLI::App& tool, Words& w, Run* run) {
  CLI::App* model =
      Command(tool, "model", "take models in, look at them", "tool model inspect model/", run, {});
  CLI::App* inspect =
      Command(*model, "inspect", "family, shape, tensors, state", "tool model inspect model/", run,
              [&w] { return Fail(InspectModel(w.model)); });
  inspect->add_option("model", w.model, "a Hugging Face folder or a .gguf file")->required();
  CLI::App* import = Command(*model, "import", "any model into a Hugging Face folder",
                             "tool model import smollm2.gguf smollm2/", run,
                             [&w] { return Fail(ImportModel(w.import)); });
  import->add_option("source", w.import.source, "a Hugging Face folder or a .gguf file")
      ->required();
  import->add_option("destination", w.import.destination, "folder to make")->required();
  import->add_option("--type", w.import.type, "f32, bf16 or f16; else as stored");
  CLI::App* to = Command(*model, "export", "as a Hugging Face folder or a .gguf file",
                         "tool model export model/ model.gguf --format gguf --type q8_0", run,
                         [&w] { return Fail(ExportModel(w.export_to)); });
  to->add_option("source", w.export_to.source, "a Hugging Face folder or a .gguf file")->required();
  to->add_option("destination", w.export_to.destination, "folder or file to make")->required();
  to->add_option("--format", w.export_to.format, "hf or gguf")->required();
  to->add_option("--type", w.export_to.type, "f32, f16 or bf16; gguf also q8_0, q4_0, q4_k_m");
}

// 0 says that what was asked for was told.
int Finished(int code) {
  const Status told = FinishStdout();
  return code == kOk && !told.ok() ? Fail(told) : code;
}

int Main(int argc, char** argv) {
  LogToStderr();
  Words words;
  Run run;
  CLI::App app("One rank of a training job, or one tool.", "trainyard-trainer");
  app.require_subcommand(1);
  AddRank(app, words, &run);
  AddRun(app, words, &run);
  CLI::App* tool =
      Command(app, "tool", "what needs text or tensors", "tool model inspect model/", &run, {});
  AddGenerate(*tool, words, &run);
  AddDoctor(*tool, words, &run);
  AddPace(*tool, words, &run);
  AddPaces(*tool, words, &run);
  AddScore(*tool, words, &run);
  AddTextTools(*tool, words, &run);
  AddModelTools(*tool, words, &run);
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    const int code = app.exit(error);
    return Finished(code == 0 ? kOk : kUsage);
  }
  return Finished(run());
}

}  // namespace
}  // namespace trainyard::worker

int main(int argc, char** argv) {
  trainyard::HoldStandardStreams();
  trainyard::worker::KeepFreedMemory();
  int code = 1;
  try {
    code = trainyard::worker::Main(argc, argv);
  } catch (const std::exception& error) {
    std::fprintf(stderr, "error: %s\n", error.what());
  }
  // Nothing of ours is left to end; libtorch's destructors take 80 ms.
  std::fflush(nullptr);
  spdlog::shutdown();
  _exit(code);
}
