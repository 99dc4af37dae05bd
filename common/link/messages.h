// What an agent and a trainer say to each other: the contract of both programs.
//
// The trainer listens on a Unix socket, the agent dials; a trainer outlives its agent and is
// adopted by the next one. Messages travel in frames (frame.h) on channels (channel.h) as CBOR maps
// with the key "type". On decoding every field is checked: a missing or mistyped one is an
// InvalidArgument that names it ("rank_status.step: missing"); unknown fields are ignored, so that
// the other side may be newer.
//
// Both control messages are level-triggered: each holds the whole state, the newest replaces older
// ones, and loss or repetition does no harm. Both carry job and attempt; a receiver ignores those
// of another attempt than its own.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "common/choice.h"
#include "common/ids.h"
#include "common/status.h"

namespace trainyard::link {

enum class Channel : uint8_t { kLink = 0, kControl = 1, kTelemetry = 2, kRollouts = 3 };
inline constexpr int kChannels = 4;

// ------------------------------------------------------------------------------------ link level
// In order: the trainer sends Challenge, the agent Hello, the trainer Welcome; then anything.

// Trainer -> agent, at once after accepting.
struct Challenge {
  std::string nonce = {};  // 32 random bytes in hex, new for each connection
  JobId job = {};
  AttemptNumber attempt = 0;
  int32_t rank = 0;
  int64_t pid = 0;  // of the trainer, for the agent that adopts it
};

// Agent -> trainer. A wrong proof closes the connection and disturbs nothing else.
struct Hello {
  std::string proof = {};  // HmacSha256(secret, nonce)
  // Random per start of the agent process: sequence numbers of another one start again at 1.
  std::string agent = {};
  // The highest sequence number this agent has received, by channel number. The trainer sends again
  // what is newer and unacknowledged.
  std::map<Channel, uint64_t> received = {};
};

// Trainer -> agent: the proof was right. The same for the other direction.
struct Welcome {
  std::map<Channel, uint64_t> received = {};
};

// Both ways: everything on `channel` up to `sequence` is safe with the receiver and may be
// forgotten. Control is acknowledged when received; telemetry when the agent says so (durable at
// the coordinator).
struct Ack {
  Channel channel = Channel::kControl;
  uint64_t sequence = 0;
};

// --------------------------------------------------------------------------------------- control

// A product of the prepare phase in the BlobStore.
struct PreparedFile {
  std::string name = {};  // "tokenizer.json", "train-0.tok"
  std::string key = {};   // in the BlobStore
  std::string sha256 = {};
  int64_t size_bytes = 0;
  bool operator==(const PreparedFile&) const = default;
};

struct ResumePoint {
  int64_t step = 0;
  std::string key = {};  // folder in the BlobStore
  std::string manifest_digest = {};
  bool operator==(const ResumePoint&) const = default;
};

enum class StopMode {
  kNone,
  kCheckpoint,  // finish the step, write a checkpoint, wait until it is recorded, end as stopped
  kNow,         // end as stopped at the next micro-batch
};

// Agent -> trainer: all that the coordinator wants of this rank. Idempotent.
struct Directive {
  JobId job = {};
  AttemptNumber attempt = 0;
  // Set once the prepare phase is recorded: rank 0's report, for every rank. Until then rank 0
  // prepares and the others wait, without a deadline.
  std::optional<std::vector<PreparedFile>> prepared = {};
  // What rank 0 chose for all of them, recorded with `prepared`; unset by an older agent.
  std::optional<std::vector<Choice>> choices = {};
  // Listen addresses in rank order; empty until the coordinator knows all of them.
  std::vector<std::string> peers = {};
  std::string attempt_secret = {};  // ranks prove it to each other
  // The recorded checkpoint to go on from; unset: from the beginning.
  std::optional<ResumePoint> resume = {};
  // Step of the newest checkpoint that the coordinator has recorded; -1: none. A trainer may end as
  // succeeded only when this has reached its last step.
  int64_t recorded_step = -1;
  StopMode stop = StopMode::kNone;
  bool operator==(const Directive&) const = default;
};

// What a rank is doing, in this order; training, evaluating and saving alternate.
enum class Phase {
  kStarting,   // reading its rank spec, opening its socket
  kPreparing,  // rank 0: tokenizer, shards, imported weights
  kWaiting,    // for the coordinator: prepared files or peers
  kLoading,    // weights, data, joining the collective
  kTraining,
  kEvaluating,
  kSaving,     // writing a checkpoint
  kFinishing,  // the last checkpoint is written, not yet recorded; or ending after an error
};

struct WrittenCheckpoint {
  int64_t step = 0;
  std::string key = {};  // folder in the BlobStore
  std::string manifest_digest = {};
  int64_t size_bytes = 0;
  bool operator==(const WrittenCheckpoint&) const = default;
};

struct CheckpointFailure {
  int64_t step = 0;
  std::string message = {};
  bool operator==(const CheckpointFailure&) const = default;
};

enum class OutcomeKind { kSucceeded, kFailed, kStopped };

struct Outcome {
  OutcomeKind kind = OutcomeKind::kFailed;
  std::string code = {};  // a status code's name, e.g. "INVALID_ARGUMENT"; "OK" unless failed
  std::string reason =
      {};  // UPPER_SNAKE, e.g. BAD_INPUT, OUT_OF_MEMORY, PEER_LOST; empty unless failed
  std::string message = {};  // a sentence; names the field or file
  bool operator==(const Outcome&) const = default;
};

// A failed outcome with the status's code, reason and message.
Outcome FailedOutcome(const Status& status);

// Trainer -> agent: all that this rank has to say of itself. Said again at least every second, so
// that an agent can tell a process that is stopped from one that waits.
struct RankStatus {
  JobId job = {};
  AttemptNumber attempt = 0;
  int32_t rank = 0;
  Phase phase = Phase::kStarting;
  // How far a long piece of work inside the phase is: "reading weights, 120 of 538 MB". Empty where
  // phase and step say all.
  std::string doing = {};
  int64_t step = 0;  // optimiser updates done
  // Grows with every micro-batch, evaluation, preparing and loading included. The agent measures
  // how long ago it last grew; a rank that does not wait for the coordinator and does not grow is
  // hung.
  int64_t beat = 0;
  bool waiting_for_coordinator = false;  // no hang deadline applies
  int64_t collective_sequence = 0;  // calls begun; the rank with fewer is the one that is behind
  std::string listen_address = {};  // for its peers; empty until it listens
  // Rank 0, after preparing (or finding it prepared).
  std::optional<std::vector<PreparedFile>> prepared = {};
  std::optional<std::vector<Choice>> choices = {};  // set with `prepared`
  // Newest checkpoint written whose step is above Directive::recorded_step; rank 0 only, after all
  // ranks have written theirs.
  std::optional<WrittenCheckpoint> checkpoint = {};
  // The newest that could not be written (disk full): the job goes on.
  std::optional<CheckpointFailure> checkpoint_failure = {};
  // Set at the end, just before the process exits.
  std::optional<Outcome> outcome = {};
  double step_seconds_p99 = 0;  // over recent steps; 0 until there are enough
  bool operator==(const RankStatus&) const = default;
};

// ------------------------------------------------------------------------------------- telemetry
// Trainer -> agent. When the agent is away for long, the oldest are dropped and a gap is told.

struct MetricPoint {
  int64_t step = 0;
  std::string name = {};  // HF's and TRL's names: "loss", "grad_norm", "eval_loss"
  double value = 0;       // may be NaN or infinite
  double wall_time = 0;   // seconds since 1970
};

struct MetricPoints {
  std::vector<MetricPoint> points = {};
};

// Something worth a line in the job's history: a skipped step, a checkpoint written.
struct TrainerEvent {
  double wall_time = 0;      // seconds since 1970
  std::string type = {};     // UPPER_SNAKE
  std::string message = {};  // one sentence
};

// Messages first_sequence..last_sequence were dropped, the buffer being full. The marker has the
// sequence number last_sequence itself.
struct TelemetryGap {
  uint64_t first_sequence = 0;
  uint64_t last_sequence = 0;
};

using Telemetry = std::variant<MetricPoints, TrainerEvent, TelemetryGap>;

// -------------------------------------------------------------------------------------- encoding

// The CBOR bytes of a message, "is" included. For all message structs above.
template <class Message>
std::string Encode(const Message& message);

// InvalidArgument names the field and what is wrong with it. `Message` is one of the structs above.
template <class Message>
StatusOr<Message> Decode(std::string_view cbor);

// Whichever telemetry message it is.
StatusOr<Telemetry> DecodeTelemetry(std::string_view cbor);

std::string_view PhaseName(Phase phase);             // "training"
std::string_view OutcomeKindName(OutcomeKind kind);  // "failed"
std::string_view StopModeName(StopMode mode);        // "checkpoint"
std::optional<StopMode> ParseStopMode(std::string_view name);

}  // namespace trainyard::link
