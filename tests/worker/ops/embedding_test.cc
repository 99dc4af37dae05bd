#include "worker/ops/embedding.h"

#include <gtest/gtest.h>

#include "tests/worker/support/autograd.h"

namespace trainyard::worker {
namespace {

TEST(Embedding, AgreesWithAutogradWhenAnIdComesOften) {
  const Tensor table = Normal({5, 4}, 1), dy = Normal({7, 4}, 2);
  const Tensor ids = at::tensor({3, 0, 3, 3, 4, 0, 1}, at::kLong);
  const OracleResult oracle =
      Oracle([&](const std::vector<Tensor>& in) { return at::embedding(in[0], ids); }, {table}, dy);
  EXPECT_CLOSE(EmbeddingForward(table, ids), oracle.value, kExact);
  const Tensor dtable = at::ones_like(table);  // what is there already stays
  EmbeddingBackward(dy, ids, dtable);
  EXPECT_CLOSE(dtable - 1, oracle.gradients[0], kExact);
}

TEST(Embedding, GivesTheSameBitsWithOneThreadAndWithTwo) {
  const Tensor dy = Normal({4096, 16}, 2, at::kFloat);
  const Tensor ids = at::arange(4096, at::kLong).remainder(61);
  const auto gradient = [&](int threads) {
    const int before = at::get_num_threads();
    at::set_num_threads(threads);
    Tensor dtable = at::zeros({61, 16}, at::kFloat);
    EmbeddingBackward(dy, ids, dtable);
    at::set_num_threads(before);
    return dtable;
  };
  EXPECT_TRUE(at::equal(gradient(1), gradient(2)));
}

}  // namespace
}  // namespace trainyard::worker
