#include "worker/agent/rank_words.h"

#include <cmath>
#include <utility>

#include "common/files.h"

namespace trainyard::worker {
namespace {

template <class... Cases>
struct Overloaded : Cases... {
  using Cases::operator()...;
};

template <class Item>
void SetKey(const RankKey& key, Item& item) {
  item.set_job_id(key.job.value);
  item.set_attempt(key.attempt);
  item.set_rank(key.rank);
}

void SetEvent(const RankKey& key, double wall_time, std::string type, std::string message,
              v1::TelemetryRequest& request) {
  v1::TrainerEvent& event = *request.mutable_event();
  SetKey(key, event);
  event.set_wall_time(wall_time);
  event.set_type(Utf8(std::move(type)));
  event.set_message(Utf8(std::move(message)));
}

}  // namespace

std::string Utf8(std::string text) {
  for (size_t bad = FindInvalidUtf8(text); bad != std::string::npos; bad = FindInvalidUtf8(text))
    text[bad] = '?';
  return text;
}

v1::TelemetryRequest ToRequest(const RankKey& key, link::Telemetry words) {
  v1::TelemetryRequest request;
  std::visit(Overloaded{
                 [&](link::MetricPoints& points) {
                   v1::PointBatch& batch = *request.mutable_points();
                   SetKey(key, batch);
                   for (link::MetricPoint& point : points.points) {
                     if (!std::isfinite(point.wall_time) || point.step < 0) continue;
                     v1::MetricSample& sample = *batch.add_samples();
                     sample.set_step(point.step);
                     sample.set_name(Utf8(std::move(point.name)));
                     sample.set_value(point.value);
                     sample.set_wall_time(point.wall_time);
                   }
                 },
                 [&](link::TrainerEvent& event) {
                   SetEvent(key, event.wall_time, std::move(event.type), std::move(event.message),
                            request);
                 },
                 [&](link::TelemetryGap& gap) {
                   SetEvent(key, 0, "TELEMETRY_GAP",
                            fmt::format("{} messages were dropped: nobody took them in time",
                                        gap.last_sequence - gap.first_sequence + 1),
                            request);
                 },
             },
             words);
  return request;
}

}  // namespace trainyard::worker
