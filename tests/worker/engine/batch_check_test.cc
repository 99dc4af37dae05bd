#include "worker/engine/batch_check.h"

#include <gmock/gmock.h>

#include "tests/support/status_matchers.h"
#include "tests/worker/support/batches.h"

namespace trainyard::worker {
namespace {

using testing::HasSubstr;

void ExpectRefused(const std::function<void(Batch&)>& spoil, const char* words) {
  Batch batch = Pack({{1, 2, 3}, {4, 5}});
  ASSERT_OK(CheckBatch(batch, TinyLlama()));
  spoil(batch);
  EXPECT_THAT(CheckBatch(batch, TinyLlama()),
              StatusIs(StatusCode::kInvalidArgument, HasSubstr(words)));
}

TEST(CheckBatch, NamesWhatIsWrong) {
  ExpectRefused([](Batch& b) { b = {}; }, "no tokens");
  ExpectRefused([](Batch& b) { b.token_ids_T[3] = 37; }, "token_ids[3] = 37");
  ExpectRefused([](Batch& b) { b.token_ids_T[0] = -1; }, "token_ids[0] = -1");
  ExpectRefused([](Batch& b) { b.target_ids_T[1] = -2; }, "target_ids[1] = -2");
  ExpectRefused([](Batch& b) { b.position_ids_T[2] = 64; }, "position_ids[2] = 64");
  ExpectRefused([](Batch& b) { b.target_ids_T.pop_back(); }, "4 targets");
  ExpectRefused([](Batch& b) { b.cu_seqlens = {0}; }, "cu_seqlens");
  ExpectRefused([](Batch& b) { b.cu_seqlens = {0, 4}; }, "cu_seqlens");
  ExpectRefused([](Batch& b) { b.cu_seqlens = {0, 3, 3, 5}; }, "cu_seqlens[2] = 3");
}

TEST(CheckPrompt, LeavesRoomForOneToken) {
  EXPECT_OK(CheckPrompt(Item(63, 1), TinyLlama()));
  EXPECT_THAT(CheckPrompt(Item(64, 1), TinyLlama()),
              StatusIs(StatusCode::kInvalidArgument, HasSubstr("64 tokens")));
  EXPECT_THAT(CheckPrompt({}, TinyLlama()),
              StatusIs(StatusCode::kInvalidArgument, HasSubstr("no tokens")));
  EXPECT_THAT(CheckPrompt({37}, TinyLlama()),
              StatusIs(StatusCode::kInvalidArgument, HasSubstr("prompt[0] = 37")));
}

}  // namespace
}  // namespace trainyard::worker
