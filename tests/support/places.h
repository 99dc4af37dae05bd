// Where the tests find the source tree and the programs under test. The one library that holds
// absolute paths, so that the objects of all other tests are the same in every clone.
#pragma once

#include <filesystem>

namespace trainyard {

// The root of the repository.
std::filesystem::path SourceFolder();
// The programs of build/bin, and those that stand in for them in tests (build/tests).
std::filesystem::path ProgramFolder();
std::filesystem::path TestProgramFolder();

}  // namespace trainyard
