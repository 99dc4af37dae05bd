#include "worker/agent/rank_end.h"

#include <signal.h>

#include <cstring>

namespace trainyard::worker {
namespace {

RankEnd FromRecord(const link::Outcome& outcome, const ExitStatus& status) {
  RankEnd end{std::string(link::OutcomeKindName(outcome.kind)), outcome.reason, outcome.message,
              status.exit_code, status.signal};
  if (end.reason.empty() && outcome.kind == link::OutcomeKind::kFailed) end.reason = outcome.code;
  return end;
}

bool IsAbout(const RankKey& key, const link::RankStatus& status) {
  return status.job == key.job && status.attempt == key.attempt && status.rank == key.rank;
}

}  // namespace

RankEnd EndOf(const RankKey& key, const DeathFacts& facts) {
  const ExitStatus status = facts.status.value_or(ExitStatus{});
  if (facts.record.ok() && facts.record->status.outcome && IsAbout(key, facts.record->status))
    return FromRecord(*facts.record->status.outcome, status);
  RankEnd end{"failed", "", "", status.exit_code, status.signal};
  if (!facts.killed_why.empty()) {
    end.kind = "stopped";
    end.reason = "STOPPED";
    end.message = fmt::format("the worker killed it: {}", facts.killed_why);
    if (!facts.status) end.signal = SIGKILL;
  } else if (facts.out_of_memory_kills && (!facts.status || status.signal == SIGKILL)) {
    end.reason = "OUT_OF_MEMORY";
    end.message =
        "it was killed while this host had run out of memory (the kernel's out-of-memory killer "
        "was "
        "at work); use a smaller micro-batch, fewer ranks here, or a host with more memory";
  } else if (!facts.status || status.signal == SIGKILL) {
    end.reason = "KILLED";
    end.message = "it was killed from outside: it left no exit record";
    end.signal = SIGKILL;
  } else if (status.signal != 0) {
    end.reason = "CRASHED";
    end.message = fmt::format("it crashed with signal {} ({}); its log's last lines may say where",
                              status.signal, strsignal(status.signal));
  } else {
    end.reason = "NO_EXIT_RECORD";
    end.message = fmt::format("it exited with code {} without saying why; see its log's last lines",
                              status.exit_code);
    if (!facts.record.ok() && !absl::IsNotFound(facts.record.status()))
      end.message += "; " + MessageOf(facts.record.status());
  }
  return end;
}

RankEnd StartFailed(const Status& why) {
  return {"failed", "SPAWN_FAILED", fmt::format("it could not be started: {}", MessageOf(why)), 0,
          0};
}

}  // namespace trainyard::worker
