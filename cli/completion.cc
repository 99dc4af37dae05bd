#include "cli/completion.h"

#include <CLI/CLI.hpp>
#include <algorithm>
#include <cstdio>

#include "cli/exit_code.h"
#include "common/job_spec/fields.h"

namespace trainyard::cli {
namespace {

using Words = std::vector<std::string>;

// Adds what is not there yet.
void Add(Words& words, const Words& more) {
  for (const std::string& word : more)
    if (std::find(words.begin(), words.end(), word) == words.end()) words.push_back(word);
}

Words CommandsOf(const CLI::App& app) {
  Words words;
  for (const CLI::App* command : app.get_subcommands({})) words.push_back(command->get_name());
  return words;
}

Words OptionsOf(const CLI::App& app) {
  Words words;
  for (const CLI::Option* option : app.get_options({}))
    for (const std::string& name : option->get_lnames()) words.push_back("--" + name);
  return words;
}

// What may stand after a command of `app`: commands and options below it, then those of `app`.
Words WordsAfter(const CLI::App& command, const CLI::App& app) {
  Words words = CommandsOf(command);
  Add(words, OptionsOf(command));
  for (const CLI::App* below : command.get_subcommands({})) Add(words, OptionsOf(*below));
  Add(words, OptionsOf(app));
  return words;
}

std::string Join(const Words& words) {
  std::string joined;
  for (const std::string& word : words) joined += (joined.empty() ? "" : " ") + word;
  return joined;
}

// One function: the first word chooses the list for the rest.
std::string BashScript(const CLI::App& app) {
  std::string script =
      "_trainyard() {\n  local cur=${COMP_WORDS[COMP_CWORD]} words\n"
      "  case ${COMP_WORDS[1]} in\n";
  for (const CLI::App* command : app.get_subcommands({}))
    script += fmt::format("    {}) words=\"{}\" ;;\n", command->get_name(),
                          Join(WordsAfter(*command, app)));
  Words first = CommandsOf(app);
  Add(first, OptionsOf(app));
  script += fmt::format("  esac\n  ((COMP_CWORD == 1)) && words=\"{}\"\n", Join(first));
  script +=
      "  COMPREPLY=($(compgen -W \"$words\" -f -- \"$cur\"))\n}\n"
      "complete -F _trainyard trainyard\n";
  return script;
}

std::string FishScript(const CLI::App& app) {
  std::string script;
  for (const CLI::App* command : app.get_subcommands({})) {
    script += fmt::format("complete -c trainyard -n __fish_use_subcommand -a {} -d \"{}\"\n",
                          command->get_name(), command->get_description());
    for (const std::string& word : WordsAfter(*command, app))
      script += fmt::format("complete -c trainyard -n '__fish_seen_subcommand_from {}' -a '{}'\n",
                            command->get_name(), word);
  }
  return script;
}

}  // namespace

int PrintCompletion(const CLI::App& app, const std::string& shell) {
  if (shell == "bash") {
    std::fputs(BashScript(app).c_str(), stdout);
  } else if (shell == "zsh") {
    std::fputs(("autoload -U +X bashcompinit && bashcompinit\n" + BashScript(app)).c_str(), stdout);
  } else if (shell == "fish") {
    std::fputs(FishScript(app).c_str(), stdout);
  } else {
    return Fail(InvalidArgument("no completion for {}; choose bash, zsh or fish", shell));
  }
  return kOk;
}

Mistake FindMistake(const CLI::App& app, const std::vector<std::string>& words) {
  const CLI::App* command = &app;
  std::string path;  // of commands, as far as they are right
  for (size_t i = 0; i < words.size(); ++i) {
    const std::string name = words[i].substr(0, words[i].find('='));
    if (name.starts_with("-")) {
      const CLI::Option* option = command->get_option_no_throw(name);
      if (option == nullptr) option = app.get_option_no_throw(name);
      if (option == nullptr) return {name, NearestName(name, WordsAfter(*command, app))};
      if (option->get_items_expected_max() > 0 && name == words[i]) ++i;  // its value
      continue;
    }
    const std::vector<const CLI::App*> below = command->get_subcommands({});
    if (below.empty()) continue;  // an argument
    const auto next = std::find_if(below.begin(), below.end(),
                                   [&](const CLI::App* c) { return c->check_name(name); });
    if (next == below.end()) {
      const std::string near = NearestName(name, CommandsOf(*command));
      return {path + name, near.empty() ? "" : path + near};
    }
    command = *next;
    path += name + " ";
  }
  return {};
}

}  // namespace trainyard::cli
