#include "common/link/messages.h"

#include "common/link/cbor.h"
#include "common/link/message_fields.h"

namespace trainyard::link {

template <class A>
void Fields(A& a, Challenge& m) {
  a("nonce", m.nonce);
  a("job", m.job);
  a("attempt", m.attempt);
  a("rank", m.rank);
  a("pid", m.pid);
}

template <class A>
void Fields(A& a, Hello& m) {
  a("proof", m.proof);
  a("agent", m.agent);
  a("received", m.received);
}

template <class A>
void Fields(A& a, Welcome& m) {
  a("received", m.received);
}

template <class A>
void Fields(A& a, Ack& m) {
  a("channel", m.channel);
  a("sequence", m.sequence);
}

template <class A>
void Fields(A& a, ResumePoint& m) {
  a("step", m.step);
  a("key", m.key);
  a("manifest_digest", m.manifest_digest);
}

template <class A>
void Fields(A& a, Directive& m) {
  a("job", m.job);
  a("attempt", m.attempt);
  a("prepared", m.prepared);
  a("choices", m.choices);
  a("peers", m.peers);
  a("attempt_secret", m.attempt_secret);
  a("resume", m.resume);
  a("recorded_step", m.recorded_step);
  a("stop", m.stop);
}

template <class A>
void Fields(A& a, MetricPoint& m) {
  a("step", m.step);
  a("name", m.name);
  a("value", m.value);
  a("wall_time", m.wall_time);
}

template <class A>
void Fields(A& a, MetricPoints& m) {
  a("points", m.points);
}

template <class A>
void Fields(A& a, TrainerEvent& m) {
  a("wall_time", m.wall_time);
  a("type", m.type);
  a("message", m.message);
}

template <class A>
void Fields(A& a, TelemetryGap& m) {
  a("first_sequence", m.first_sequence);
  a("last_sequence", m.last_sequence);
}

namespace {

template <class Message>
constexpr const char* kType = "";
template <>
constexpr const char* kType<Challenge> = "challenge";
template <>
constexpr const char* kType<Hello> = "hello";
template <>
constexpr const char* kType<Welcome> = "welcome";
template <>
constexpr const char* kType<Ack> = "ack";
template <>
constexpr const char* kType<Directive> = "directive";
template <>
constexpr const char* kType<RankStatus> = "rank_status";
template <>
constexpr const char* kType<MetricPoints> = "metric_points";
template <>
constexpr const char* kType<TrainerEvent> = "trainer_event";
template <>
constexpr const char* kType<TelemetryGap> = "telemetry_gap";

StatusOr<std::string> TypeOf(const nlohmann::ordered_json& json) {
  if (!json.is_object()) return InvalidArgument("a message is a CBOR map");
  const auto type = json.find("is");
  if (type == json.end() || !type->is_string()) return InvalidArgument("is: missing");
  return type->get<std::string>();
}

template <class Message>
StatusOr<Message> FromJson(const nlohmann::ordered_json& json) {
  Message message;
  Status error;
  Reader reader(json, kType<Message>, &error);
  Fields(reader, message);
  RETURN_IF_ERROR(error);
  return message;
}

}  // namespace

template <class Message>
std::string Encode(const Message& message) {
  Writer writer;
  std::string type = kType<Message>;
  writer("is", type);
  Fields(writer, const_cast<Message&>(message));  // a Writer only reads
  return ToCbor(writer.Take());
}

template <class Message>
StatusOr<Message> Decode(std::string_view cbor) {
  ASSIGN_OR_RETURN(const nlohmann::ordered_json json, ParseCbor(cbor));
  ASSIGN_OR_RETURN(const std::string type, TypeOf(json));
  if (type != kType<Message>) {
    return InvalidArgument("is: wants {}, found \"{}\"", kType<Message>, CleanText(type));
  }
  return FromJson<Message>(json);
}

template std::string Encode(const Challenge&);
template std::string Encode(const Hello&);
template std::string Encode(const Welcome&);
template std::string Encode(const Ack&);
template std::string Encode(const Directive&);
template std::string Encode(const RankStatus&);
template std::string Encode(const MetricPoints&);
template std::string Encode(const TrainerEvent&);
template std::string Encode(const TelemetryGap&);
template StatusOr<Challenge> Decode(std::string_view);
template StatusOr<Hello> Decode(std::string_view);
template StatusOr<Welcome> Decode(std::string_view);
template StatusOr<Ack> Decode(std::string_view);
template StatusOr<Directive> Decode(std::string_view);
template StatusOr<RankStatus> Decode(std::string_view);
template StatusOr<MetricPoints> Decode(std::string_view);
template StatusOr<TrainerEvent> Decode(std::string_view);
template StatusOr<TelemetryGap> Decode(std::string_view);

StatusOr<Telemetry> DecodeTelemetry(std::string_view cbor) {
  ASSIGN_OR_RETURN(const nlohmann::ordered_json json, ParseCbor(cbor));
  ASSIGN_OR_RETURN(const std::string type, TypeOf(json));
  if (type == kType<MetricPoints>) return FromJson<MetricPoints>(json);
  if (type == kType<TrainerEvent>) return FromJson<TrainerEvent>(json);
  if (type == kType<TelemetryGap>) return FromJson<TelemetryGap>(json);
  return InvalidArgument("is: \"{}\" is not a telemetry message", CleanText(type));
}

Outcome FailedOutcome(const Status& status) {
  return {.kind = OutcomeKind::kFailed,
          .code = absl::StatusCodeToString(status.code()),
          .reason = ReasonOf(status),
          .message = MessageOf(status)};
}

std::string_view PhaseName(Phase phase) { return NameOfEnum(phase); }
std::string_view OutcomeKindName(OutcomeKind kind) { return NameOfEnum(kind); }
std::string_view StopModeName(StopMode mode) { return NameOfEnum(mode); }

std::optional<StopMode> ParseStopMode(std::string_view name) {
  for (const auto& [candidate, mode] : Names(StopMode{})) {
    if (candidate == name) return mode;
  }
  return std::nullopt;
}

}  // namespace trainyard::link
