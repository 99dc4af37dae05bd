#include "coordinator/state/reasons.h"

namespace trainyard::coordinator {
namespace {

constexpr auto kUser = ReasonOwner::kUser;
constexpr auto kInfra = ReasonOwner::kInfra;
constexpr auto kSystem = ReasonOwner::kSystem;

}  // namespace

const std::vector<ReasonRow> kReasons = {
    {"BAD_INPUT", kUser, Remedy::kFail, "the data, model or tokenizer cannot be used"},
    {"OUT_OF_MEMORY", kUser, Remedy::kFail, "the job needs more memory than its slot has"},
    {"LOSS_NOT_FINITE", kUser, Remedy::kFail, "the loss became NaN or infinite"},
    {"INVALID_ARGUMENT", kUser, Remedy::kFail, "the job asks for something wrong"},
    {"NOT_FOUND", kUser, Remedy::kFail, "something the job names does not exist"},
    {"UNIMPLEMENTED", kUser, Remedy::kFail, "the job needs something that is not built yet"},
    {"CHECKPOINT_DAMAGED", kInfra, Remedy::kDropCheckpoint,
     "the checkpoint to resume from does not have the bytes that were recorded"},
    {"DATA_DAMAGED", kInfra, Remedy::kReplace,
     "prepared data does not have the bytes that were written; the next attempt makes it again"},
    {"DISK_FULL", kInfra, Remedy::kReplace, "no space is left for data or checkpoints"},
    {"KILLED", kInfra, Remedy::kReplace, "the process died without a last word"},
    {"CRASHED", kSystem, Remedy::kReplace, "the process crashed"},
    {"NO_EXIT_RECORD", kSystem, Remedy::kReplace, "the process ended without saying why"},
    {"SPAWN_FAILED", kInfra, Remedy::kReplace, "its worker could not start the process"},
    {"PEER_LOST", kInfra, Remedy::kReplace, "a rank it talks to went away"},
    {"WORKER_LOST", kInfra, Remedy::kReplace, "its worker stopped reporting"},
    {"RANK_HUNG", kInfra, Remedy::kReplace, "a rank made no progress within its step deadline"},
    {"START_TIMEOUT", kInfra, Remedy::kReplace, "it did not start in time"},
    {"EXIT_TIMEOUT", kInfra, Remedy::kReplace, "a rank did not exit after the last step"},
    {"AGENT_LOST", kInfra, Remedy::kReplace, "no worker daemon asked for it any more"},
    {"STOPPED", kInfra, Remedy::kReplace, "somebody other than the coordinator stopped it"},
    {"CHECKPOINT_MISSING", kInfra, Remedy::kReplace, "the last step's checkpoint is not recorded"},
    {"UNAVAILABLE", kInfra, Remedy::kReplace, "something it needs was away"},
    {"RESOURCE_EXHAUSTED", kInfra, Remedy::kReplace, "the machine ran out of something"},
    {"DATA_LOSS", kInfra, Remedy::kReplace, "stored bytes are not what was written"},
    {"INTERNAL", kSystem, Remedy::kReplace, "a part of Trainyard failed"},
};

ReasonRow FindReason(std::string_view reason) {
  for (const ReasonRow& row : kReasons) {
    if (row.reason == reason) return row;
  }
  return {reason, kSystem, Remedy::kReplace, "for a reason that this build does not know"};
}

bool IsEcho(std::string_view reason) { return reason == "PEER_LOST"; }

}  // namespace trainyard::coordinator
