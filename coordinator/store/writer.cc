#include "coordinator/store/writer.h"

#include <spdlog/spdlog.h>

#include <utility>

namespace trainyard::coordinator {
namespace {

// How soon a stop is seen when nothing is written.
constexpr absl::Duration kIdlePeriod = absl::Milliseconds(100);

}  // namespace

StoreWriter::StoreWriter(Store& store, std::function<void(const Status&)> fatal,
                         absl::Duration retry_period)
    : store_(store),
      fatal_(std::move(fatal)),
      retry_period_(retry_period),
      thread_("store-writer", [this] { Run(); }) {}

StoreWriter::~StoreWriter() {
  stop_.Stop();
  thread_.Join();
}

void StoreWriter::Run() {
  while (true) {
    const bool stopping = stop_.stopped();
    if (!store_.WaitForWork(stopping ? absl::ZeroDuration() : kIdlePeriod)) {
      if (stopping) return;
      continue;
    }
    const Status committed = store_.Commit();
    if (committed.ok()) continue;
    if (committed.code() != StatusCode::kResourceExhausted) {
      fatal_(committed);
      return;
    }
    spdlog::error("{}", MessageOf(committed));
    if (stop_.WaitFor(retry_period_)) return;
  }
}

}  // namespace trainyard::coordinator
