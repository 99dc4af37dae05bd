#include "worker/loop/kinds.h"

#include <exception>
#include <new>

#include "worker/loop/evaluate_job.h"
#include "worker/loop/outcome.h"
#include "worker/loop/pretrain.h"

namespace trainyard::worker {

link::Outcome RunJob(const RankContext& context) {
  try {
    if (context.spec.kind == "pretrain") return Pretrain(context);
    if (context.spec.kind == "evaluate") return EvaluateModel(context);
    return OutcomeOf(Unimplemented("jobs of kind {} are not built yet", context.spec.kind));
  } catch (const std::bad_alloc&) {
    return OutcomeOf(WithReason(
        ResourceExhausted("out of memory; lower train.micro_batch_size or train.max_length"),
        kOutOfMemory));
  } catch (const std::exception& error) {
    return OutcomeOf(Internal("a library failed: {}", error.what()));
  }
}

}  // namespace trainyard::worker
