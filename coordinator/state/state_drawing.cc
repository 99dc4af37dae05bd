#include "coordinator/state/state_drawing.h"

#include <fmt/format.h>

#include "coordinator/state/job.h"
#include "coordinator/state/reasons.h"

namespace trainyard::coordinator {
namespace {

std::string_view RemedyText(Remedy remedy) {
  switch (remedy) {
    case Remedy::kFail:
      return "the job is FAILED";
    case Remedy::kReplace:
      return "a new attempt";
    case Remedy::kDropCheckpoint:
      return "a new attempt from the checkpoint before";
  }
  return "";
}

}  // namespace

std::string DrawStates() {
  std::string out = "```mermaid\nstateDiagram-v2\n    [*] --> PENDING\n";
  for (const Transition& t : kTransitions) {
    out += fmt::format("    {} --> {}\n", JobStateName(t.from), JobStateName(t.to));
  }
  out += "    SUCCEEDED --> [*]\n    FAILED --> [*]\n    CANCELLED --> [*]\n```\n\n";
  out += "| state | has | then | reason |\n|---|---|---|---|\n";
  for (const StateDeadline& d : kStateDeadlines) {
    out += fmt::format("| {} | {} s | {} | {} |\n", JobStateName(d.state),
                       absl::ToInt64Seconds(d.within), JobStateName(d.then), d.reason);
  }
  out += "\n| reason | owner | what follows | meaning |\n|---|---|---|---|\n";
  for (const ReasonRow& row : kReasons) {
    out += fmt::format("| {} | {} | {} | {} |\n", row.reason, ReasonOwnerName(row.owner),
                       RemedyText(row.remedy), row.meaning);
  }
  return out;
}

}  // namespace trainyard::coordinator
