// NCCL itself, as far as one GPU goes.
#include <ATen/ATen.h>
#include <gmock/gmock.h>

#include "common/thread.h"
#include "tests/gpu/gpu.h"
#include "tests/support/status_matchers.h"
#include "worker/parallel/nccl_collective.h"
#include "worker/parallel/thread_collective.h"

namespace trainyard::worker {
namespace {

class NcclOnGpu : public testing::Test {
 protected:
  void SetUp() override { SKIP_WITHOUT_GPU(); }
  StatusOr<std::unique_ptr<Collective>> Connect(std::unique_ptr<Collective> host) {
    ASSIGN_OR_RETURN(std::unique_ptr<NcclLibrary> library, OpenNcclLibrary());
    return NcclCollective::Connect(std::move(host), std::move(library), &clock_, absl::Seconds(60));
  }
  const SystemClock clock_;
};

std::span<std::byte> Bytes(const at::Tensor& x) {
  return {static_cast<std::byte*>(x.data_ptr()), x.nbytes()};
}
std::span<float> Floats(const at::Tensor& x) {
  return {x.data_ptr<float>(), static_cast<size_t>(x.numel())};
}

TEST_F(NcclOnGpu, OneRankDoesEveryCallOnTheDevice) {
  ASSERT_OK_AND_ASSIGN(const auto ranks, Connect(std::move(MakeThreadCollectives(1)[0])));
  const at::Tensor x = at::randn({1 << 20}, at::TensorOptions(at::kFloat).device(at::kCUDA));
  const at::Tensor sum = x.clone(), piece = at::empty_like(x), all = at::empty_like(x);
  const absl::Duration ample = absl::Seconds(30);
  ASSERT_OK(ranks->AllReduceSum(Floats(sum), ample));
  ASSERT_OK(ranks->ReduceScatterSum(Floats(x), Floats(piece), ample));
  ASSERT_OK(ranks->AllGather(Bytes(x), Bytes(all), ample));
  ASSERT_OK(ranks->Broadcast(Bytes(sum), 0, ample));
  for (const at::Tensor& same : {sum, piece, all}) EXPECT_TRUE(at::equal(same, x));
  std::vector<double> host = {1, 2};
  ASSERT_OK(ranks->AllReduceSum(std::span<double>(host), ample));
  EXPECT_EQ(ranks->sequence(), 5);
}

// NCCL refuses two ranks on one GPU, some time after it was asked. Its words must reach the user.
TEST_F(NcclOnGpu, TwoRanksOnOneGpuAreToldWhyTheyCannotBe) {
  auto hosts = MakeThreadCollectives(2);
  std::vector<Status> results(2);
  std::vector<Thread> threads;
  for (size_t rank = 0; rank < 2; ++rank) {
    threads.emplace_back("rank",
                         [&, rank] { results[rank] = Connect(std::move(hosts[rank])).status(); });
  }
  threads.clear();
  EXPECT_THAT(results, testing::Each(StatusIs(StatusCode::kAborted,
                                              testing::HasSubstr("Duplicate GPU detected"))));
}

}  // namespace
}  // namespace trainyard::worker
