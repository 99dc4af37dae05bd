// Shell completion and suggestions, both drawn from the one description of the commands.
#pragma once

#include <string>

namespace CLI {
class App;
}

namespace trainyard::cli {

// Prints a script for bash, zsh or fish; usage error for another shell.
int PrintCompletion(const CLI::App& app, const std::string& shell);

// The command closest to the first word that is none, within two edits; empty when there is none.
std::string NearestCommand(const CLI::App& app, int argc, char** argv);

}  // namespace trainyard::cli
