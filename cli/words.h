// The command line's words as they are parsed, and how a command is declared. main.cc declares the
// commands about jobs and clusters, tool_words.cc those that the trainer's tools do.
#pragma once

#include <CLI/CLI.hpp>
#include <functional>
#include <string>

#include "cli/commands.h"

namespace trainyard::cli {

struct Words {
  Place place{.home = DefaultHome(),
              .coordinator = "",
              .token_file = "",
              .tls_ca = "",
              .tls_cert = "",
              .tls_key = ""};
  std::string output = "table";
  std::string job, folder, shell;
  std::vector<std::string> retry_set;
  DeleteOptions removal;
  bool now = false;
  double timeout_seconds = 0;
  SubmitOptions submit;
  PlanOptions plan;
  ListOptions list;
  LogsOptions logs;
  MetricsOptions metrics;
  ToolOptions tool;
  UpOptions up;
};

// Every command sets `run`, which main calls after parsing.
using Run = std::function<int(Format)>;

// A command of `parent`; its help opens with the example. Without an action it has commands below
// it.
CLI::App* Command(CLI::App& parent, const std::string& name, const std::string& help,
                  const std::string& example, Run* run, Run action);

// generate, chat, model, tokenizer and data. `words` and `run` outlive the parsing.
void AddToolCommands(CLI::App& app, Words& words, Run* run);

}  // namespace trainyard::cli
