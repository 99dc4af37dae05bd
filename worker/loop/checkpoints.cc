#include "worker/loop/checkpoints.h"

#include <spdlog/spdlog.h>

#include <algorithm>
#include <exception>
#include <new>
#include <utility>

#include "common/files.h"
#include "worker/loop/outcome.h"
#include "worker/loop/reading.h"

namespace trainyard::worker {
namespace {

// Where the folder of this key lies on this machine.
StatusOr<std::filesystem::path> FolderOf(const RankContext& context, const std::string& key) {
  ASSIGN_OR_RETURN(const std::optional<std::filesystem::path> folder,
                   context.blobs->LocalPath(key));
  if (!folder.has_value()) {
    return Unimplemented("checkpoints in a BlobStore that is not a folder of this machine");
  }
  return *folder;
}

// The reason a full disk has here; elsewhere ResourceExhausted is memory.
Status WithDiskReason(Status status) {
  if (status.code() != StatusCode::kResourceExhausted || ReasonOf(status) == kOutOfMemory) {
    return status;
  }
  return WithReason(std::move(status), kDiskFull);
}

StatusOr<link::WrittenCheckpoint> Write(const RankContext& context,
                                        const CheckpointContents& contents,
                                        const PieceWritten& piece_written) {
  const std::string key = CheckpointKey(context, contents.state.step);
  ASSIGN_OR_RETURN(const std::filesystem::path folder, FolderOf(context, key));
  RETURN_IF_ERROR(MakeFolders(folder.parent_path()));
  ASSIGN_OR_RETURN(const WrittenCheckpoint written,
                   WriteCheckpoint(folder, contents, piece_written));
  return link::WrittenCheckpoint{.step = contents.state.step,
                                 .key = key,
                                 .manifest_digest = written.manifest_digest,
                                 .size_bytes = written.total_bytes};
}

StatusOr<link::WrittenCheckpoint> WriteFiles(const RankContext& context, int64_t step,
                                             const std::map<std::string, std::string>& files) {
  const std::string key = CheckpointKey(context, step);
  ASSIGN_OR_RETURN(const std::filesystem::path folder, FolderOf(context, key));
  RETURN_IF_ERROR(MakeFolders(folder / "trainyard"));
  CheckpointManifest manifest{
      .job = context.job.value, .attempt = context.attempt, .step = step, .files = {}};
  for (const auto& [name, text] : files) {
    RETURN_IF_ERROR(WriteFileAtomically(folder / name, text));
    manifest.files.push_back({name, Sha256(text), static_cast<int64_t>(text.size())});
  }
  ASSIGN_OR_RETURN(const std::string digest, WriteManifest(folder, manifest));
  return link::WrittenCheckpoint{
      .step = step, .key = key, .manifest_digest = digest, .size_bytes = manifest.total_bytes()};
}

// What a library throws must not leave: the caller may be a thread of its own.
StatusOr<link::WrittenCheckpoint> WriteCaught(const RankContext& context,
                                              const CheckpointContents& contents,
                                              const PieceWritten& piece_written) {
  try {
    return Write(context, contents, piece_written);
  } catch (const std::bad_alloc&) {
    return WithReason(ResourceExhausted("out of memory"), kOutOfMemory);
  } catch (const std::exception& error) {
    return Internal("a library failed: {}", error.what());
  }
}

Status TellFailure(const RankContext& context, int64_t step, const Status& error) {
  const std::string what =
      fmt::format("the checkpoint of step {} is not written: {}", step, MessageOf(error));
  spdlog::error("step={} {}", step, what);
  if (ReasonOf(error) == kStopped) return error;
  context.link->ReportCheckpointFailure({.step = step, .message = what});
  context.link->Event("CHECKPOINT_FAILED", what);
  return WithDiskReason(error);
}

}  // namespace

std::string CheckpointKey(const RankContext& context, int64_t step) {
  return fmt::format("checkpoints/{}/{}", context.job.value,
                     CheckpointFolderName(step, context.attempt));
}

Status SaveCheckpoint(const RankContext& context, const CheckpointContents& contents,
                      const std::function<void()>& piece_written) {
  const int64_t step = contents.state.step;
  const absl::Duration begin = context.clock->Elapsed();
  const StatusOr<link::WrittenCheckpoint> written = WriteCaught(context, contents, [&]() -> Status {
    if (context.link->stop() == link::StopMode::kNow) return StopRequested("it was written");
    if (piece_written) piece_written();
    return OkStatus();
  });
  if (!written.ok()) return TellFailure(context, step, written.status());
  const double seconds = absl::ToDoubleSeconds(context.clock->Elapsed() - begin);
  context.link->Metrics(step, {{"checkpoint_seconds", seconds}});
  spdlog::info("step={} checkpoint={} megabytes={:.1f} seconds={:.2f}", step, written->key,
               static_cast<double>(written->size_bytes) / 1e6, seconds);
  context.link->ReportCheckpoint(*written);
  return OkStatus();
}

Status SaveFiles(const RankContext& context, int64_t step,
                 const std::map<std::string, std::string>& files) {
  const StatusOr<link::WrittenCheckpoint> written = WriteFiles(context, step, files);
  if (!written.ok()) return TellFailure(context, step, written.status());
  spdlog::info("step={} result={} bytes={}", step, written->key, written->size_bytes);
  context.link->ReportCheckpoint(*written);
  return OkStatus();
}

StatusOr<TrainingState> LoadCheckpoint(const RankContext& context, const link::ResumePoint& from,
                                       std::string_view engine_name, Engine& engine,
                                       const TrainingState& expected) {
  ASSIGN_OR_RETURN(const std::filesystem::path folder, FolderOf(context, from.key));
  ASSIGN_OR_RETURN(const std::vector<ParameterView> parameters, engine.Parameters());
  StatusOr<TrainingState> state = ReadCheckpoint(folder, from.manifest_digest, engine_name,
                                                 parameters, TellReading(*context.link));
  if (!state.ok()) {
    const Status error = Annotate(state.status(), "checkpoint " + from.key);
    const bool damaged =
        absl::IsDataLoss(error) || absl::IsNotFound(error) || absl::IsInternal(error);
    return damaged ? WithReason(error, kCheckpointDamaged) : error;
  }
  const auto same = [&](std::string_view what, const std::string& found,
                        const std::string& wanted) -> Status {
    if (found == wanted) return OkStatus();
    return InvalidArgument(
        "checkpoint {} was trained on another {} ({}, now {}): start a new job, or give it the "
        "same data",
        from.key, what, found.substr(0, 12), wanted.substr(0, 12));
  };
  RETURN_IF_ERROR(same("tokenizer", state->tokenizer_sha256, expected.tokenizer_sha256));
  RETURN_IF_ERROR(same("order of data", state->data_sha256, expected.data_sha256));
  engine.set_update_count(state->update_count);
  RETURN_IF_ERROR(engine.WeightsChanged());
  return state;
}

std::string PrecisionOfCheckpoint(const RankContext& context, const link::ResumePoint& from) {
  const auto folder = FolderOf(context, from.key);
  if (!folder.ok()) return "";
  const auto text = ReadFile(*folder / "trainyard" / "state.json", 1 << 20);
  if (!text.ok()) return "";
  const auto state = nlohmann::json::parse(*text, nullptr, /*allow_exceptions=*/false);
  if (!state.is_object() || !state.contains("schedule") || !state["schedule"].is_object())
    return "";
  const nlohmann::json said = state["schedule"].value("precision", nlohmann::json());
  return said == "fp32" || said == "bf16" ? said.get<std::string>() : "";
}

Status SaveForGood(const RankContext& context, int64_t step, const std::function<Status()>& save) {
  constexpr int kTries = 8;  // after pauses of 1, 2, 4, 8, 16, 30 and 30 seconds
  absl::Duration pause = absl::Seconds(1);
  const std::string what = fmt::format("the checkpoint of step {} is recorded", step);
  for (int tries = 1; save; ++tries) {
    const Status saved = save();
    if (saved.ok()) break;
    if (tries == kTries) return saved;
    if (!context.link->Pause(pause)) return StopRequested(what);
    context.link->Beat(step, 0);
    pause = std::min(2 * pause, absl::Seconds(30));
  }
  context.link->SetPhase(link::Phase::kFinishing);
  return context.link
      ->WaitUntil(what, [&](const link::Directive& d) { return d.recorded_step >= step; })
      .status();
}

}  // namespace trainyard::worker
