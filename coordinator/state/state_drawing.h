// The transition table as people read it: docs/ holds what this returns, and a test compares them.
#pragma once

#include <string>

namespace trainyard::coordinator {

// A Mermaid state diagram, then the deadlines and the reasons as Markdown tables.
std::string DrawStates();

}  // namespace trainyard::coordinator
