// Shell completion and suggestions, both drawn from the one description of the commands.
#pragma once

#include <string>
#include <vector>

namespace CLI {
class App;
}

namespace trainyard::cli {

// Prints a script for bash, zsh or fish; usage error for another shell.
int PrintCompletion(const CLI::App& app, const std::string& shell);

// The first command or option on the command line that does not exist, "checkpoint lst", and what
// was probably meant, "checkpoint list"; each empty when there is none.
struct Mistake {
  std::string word, meant;
};
Mistake FindMistake(const CLI::App& app, const std::vector<std::string>& words);

}  // namespace trainyard::cli
