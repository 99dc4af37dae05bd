#include "tests/simulation/world.h"

#include <fmt/format.h>

namespace trainyard::simulation {

void World::Note(std::string line) {
  constexpr size_t kKept = 50;
  for (const char c : line)
    digest_ = (digest_ ^ static_cast<uint8_t>(c)) * 0x100000001b3;  // FNV-1a
  notes_.push_back(
      fmt::format("{:9.3f} s  {}", absl::ToDoubleSeconds(clock_.Elapsed()), std::move(line)));
  if (notes_.size() > kKept) notes_.pop_front();
}

std::string World::LastNotes() const {
  std::string text;
  for (const std::string& note : notes_) text += note + "\n";
  return text;
}

}  // namespace trainyard::simulation
