#include "worker/loop/reading.h"

#include "worker/loop/outcome.h"

namespace trainyard::worker {

std::string SayReading(std::string_view what, int64_t done_bytes, int64_t total_bytes) {
  constexpr double kMegabyte = 1e6;
  return fmt::format("{}, {:.0f} of {:.0f} MB", what, static_cast<double>(done_bytes) / kMegabyte,
                     static_cast<double>(total_bytes) / kMegabyte);
}

ReadProgress TellReading(RankLink& link) {
  return [&link](std::string_view what, int64_t done_bytes, int64_t total_bytes) {
    link.Doing(SayReading(what, done_bytes, total_bytes));
    return link.stop() == link::StopMode::kNow ? StopRequested("the model is read") : OkStatus();
  };
}

}  // namespace trainyard::worker
