#include "tests/support/places.h"

namespace trainyard {

std::filesystem::path SourceFolder() { return TRAINYARD_SOURCE_DIR; }
std::filesystem::path ProgramFolder() { return std::filesystem::path(TRAINYARD_BUILD_DIR) / "bin"; }
std::filesystem::path TestProgramFolder() {
  return std::filesystem::path(TRAINYARD_BUILD_DIR) / "tests";
}

}  // namespace trainyard
