#include "cli/completion.h"

#include <CLI/CLI.hpp>
#include <algorithm>
#include <cstdio>
#include <numeric>
#include <vector>

#include "cli/exit_code.h"

namespace trainyard::cli {
namespace {

size_t EditDistance(const std::string& a, const std::string& b) {
  std::vector<size_t> row(b.size() + 1);
  std::iota(row.begin(), row.end(), size_t{0});
  for (size_t i = 1; i <= a.size(); ++i) {
    size_t diagonal = row[0];
    row[0] = i;
    for (size_t j = 1; j <= b.size(); ++j) {
      const size_t above = row[j];
      row[j] = std::min({above + 1, row[j - 1] + 1, diagonal + (a[i - 1] == b[j - 1] ? 0 : 1)});
      diagonal = above;
    }
  }
  return row.back();
}

std::vector<std::string> WordsOf(const CLI::App& app) {
  std::vector<std::string> words;
  for (const CLI::App* command : app.get_subcommands({})) words.push_back(command->get_name());
  for (const CLI::Option* option : app.get_options({}))
    for (const std::string& name : option->get_lnames()) words.push_back("--" + name);
  return words;
}

std::string Join(const std::vector<std::string>& words) {
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
    script +=
        fmt::format("    {}) words=\"{}\" ;;\n", command->get_name(), Join(WordsOf(*command)));
  script += fmt::format("  esac\n  ((COMP_CWORD == 1)) && words=\"{}\"\n", Join(WordsOf(app)));
  script +=
      "  COMPREPLY=($(compgen -W \"$words\" -f -- \"$cur\"))\n}\n"
      "complete -F _trainyard trainyard\n";
  return script;
}

std::string FishScript(const CLI::App& app) {
  std::string script;
  for (const CLI::App* command : app.get_subcommands({})) {
    script += fmt::format("complete -c trainyard -n __fish_use_subcommand -a {} -d '{}'\n",
                          command->get_name(), command->get_description());
    for (const std::string& word : WordsOf(*command))
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

std::string NearestCommand(const CLI::App& app, int argc, char** argv) {
  for (int i = 1; i < argc; ++i) {
    const std::string word = argv[i];
    if (word.starts_with("-")) continue;
    std::string nearest;
    size_t distance = 3;
    for (const CLI::App* command : app.get_subcommands({})) {
      const size_t d = EditDistance(word, command->get_name());
      if (d == 0) return "";
      if (d < distance) {
        distance = d;
        nearest = command->get_name();
      }
    }
    return nearest;
  }
  return "";
}

}  // namespace trainyard::cli
