// What the daemons say they are. Workers of one minor version and the one before fit a coordinator.
#pragma once

namespace trainyard {

inline constexpr char kVersion[] = "0.1";

}  // namespace trainyard
