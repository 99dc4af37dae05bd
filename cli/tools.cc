// What trainyard-trainer's tools do: this program becomes the other.
#include <unistd.h>

#include <cerrno>

#include "cli/commands.h"
#include "cli/exit_code.h"
#include "common/files.h"

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

int Generate(const Place& place, const ToolOptions& options) {
  const auto folder = CheckpointFolder(place, options.model);
  if (!folder.ok()) return Fail(folder.status());
  return RunTool({"generate", "--model", folder->string()}, options.options, {});
}

int Chat(const Place& place, const ToolOptions& options) {
  return RunOnModel(place, options, {"chat"});
}

int ModelDoctor(const Place& place, const ToolOptions& options) {
  return RunOnModel(place, options, {"doctor"});
}

int ModelTool(const Place& place, const ToolOptions& options, const std::string& verb) {
  return RunOnModel(place, options, {"model", verb});
}

int TokenizerTool(const Place& place, const ToolOptions& options, const std::string& verb) {
  std::vector<std::string> tool = {"tokenizer", verb};
  std::filesystem::path tokenizer = options.model;
  if (options.model.starts_with("job:")) {
    const auto folder = CheckpointFolder(place, options.model);
    if (!folder.ok()) return Fail(folder.status());
    tokenizer = *folder;
  }
  if (!tokenizer.empty()) tool.insert(tool.end(), {"--tokenizer", tokenizer.string()});
  return RunTool(tool, options.options, options.arguments);
}

int DataCheck(const ToolOptions& options) {
  return RunTool({"data", "check"}, options.options, options.arguments);
}

}  // namespace trainyard::cli
