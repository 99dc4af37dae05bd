// What trainyard-trainer's tools do: this program becomes the other.
#include <unistd.h>

#include <cerrno>

#include "cli/commands.h"
#include "cli/exit_code.h"
#include "common/files.h"
#include "common/job_spec/local_model.h"

namespace trainyard::cli {
namespace {

// Becomes the sister program, so that signals are its own; returns only when that fails.
int Become(const std::vector<std::string>& words) {
  std::vector<char*> argv;
  for (const std::string& word : words) argv.push_back(const_cast<char*>(word.c_str()));
  argv.push_back(nullptr);
  ::execv(argv[0], argv.data());
  return Fail(ErrnoStatus(errno, fmt::format("cannot start {}", words[0])));
}

int RunTool(const std::vector<std::string>& tool, const std::vector<std::string>& options,
            const std::vector<std::string>& arguments) {
  std::vector<std::string> words = {(ProgramFolder() / "trainyard-trainer").string(), "tool"};
  words.insert(words.end(), tool.begin(), tool.end());
  words.insert(words.end(), options.begin(), options.end());
  words.push_back("--");  // arguments may begin with a dash
  words.insert(words.end(), arguments.begin(), arguments.end());
  return Become(words);
}

// Those whose tool answers in JSON when asked.
int RunWithJson(const std::vector<std::string>& tool, const ToolOptions& options, Format format,
                const std::string& command) {
  if (format == Format::kYaml) return NoJson(command, "; it has -o json");
  std::vector<std::string> words = options.options;
  if (format == Format::kJson) words.push_back("--json");
  return RunTool(tool, words, options.arguments);
}

// The model is the first of the arguments.
int RunOnModel(const Place& place, const ToolOptions& options,
               const std::vector<std::string>& tool) {
  const auto folder = CheckpointFolder(place, options.model);
  if (!folder.ok()) return Fail(folder.status());
  std::vector<std::string> arguments = {folder->string()};
  arguments.insert(arguments.end(), options.arguments.begin(), options.arguments.end());
  return RunTool(tool, options.options, arguments);
}

}  // namespace

int Generate(const Place& place, const ToolOptions& options, Format format) {
  if (IsData(format)) return NoJson("generate", "; with --prompts FILE it answers in JSON lines");
  const auto folder = CheckpointFolder(place, options.model);
  if (!folder.ok()) return Fail(folder.status());
  return RunTool({"generate", "--model", folder->string()}, options.options, {});
}

int Chat(const Place& place, const ToolOptions& options, Format format) {
  if (IsData(format)) return NoJson("chat", "; generate --prompts FILE answers in JSON lines");
  return RunOnModel(place, options, {"chat"});
}

int ModelDoctor(const Place& place, const ToolOptions& options, Format format) {
  if (IsData(format)) return NoJson("doctor", "; its exit code is 1 when something is wrong");
  return RunOnModel(place, options, {"doctor"});
}

int ModelTool(const Place& place, const ToolOptions& options, const std::string& verb,
              Format format) {
  if (IsData(format)) return NoJson("model " + verb, "; its lines are NAME VALUE");
  return RunOnModel(place, options, {"model", verb});
}

int TokenizerTool(const Place& place, const ToolOptions& options, const std::string& verb,
                  Format format) {
  if (verb == "train" && IsData(format)) return NoJson("tokenizer train", "");
  std::vector<std::string> tool = {"tokenizer", verb};
  std::filesystem::path tokenizer = options.model;
  if (const std::string ref = WithJobPrefix(options.model); NamesCheckpoint(ref)) {
    const auto folder = CheckpointFolder(place, ref);
    if (!folder.ok()) return Fail(folder.status());
    tokenizer = *folder;
  }
  if (!tokenizer.empty()) tool.insert(tool.end(), {"--tokenizer", tokenizer.string()});
  if (verb == "train") return RunTool(tool, options.options, options.arguments);
  return RunWithJson(tool, options, format, "tokenizer " + verb);
}

int DataCheck(const ToolOptions& options, Format format) {
  return RunWithJson({"data", "check"}, options, format, "data check");
}

}  // namespace trainyard::cli
