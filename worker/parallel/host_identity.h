// Which host this process runs on, as far as sharing memory goes.
#pragma once

#include <string>

namespace trainyard::worker {

// 32 hex digits: equal for two processes that can find each other in /proc. Made of the running
// kernel's boot id, the namespace of process ids (of which /proc must be the view) and the user, so
// that containers of one machine differ although their addresses may not, and network namespaces
// of one machine do not. Random, so that it equals nobody's, where any of these cannot be read.
std::string HostIdentity();

}  // namespace trainyard::worker
