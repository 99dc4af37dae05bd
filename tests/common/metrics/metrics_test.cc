#include <gmock/gmock.h>
#include <prometheus/check_names.h>

#include <set>

#include "common/metrics/job_metrics.h"
#include "common/metrics/registry.h"
#include "common/metrics/rpc_metrics.h"

namespace trainyard {
namespace {

using testing::HasSubstr;
using testing::Not;

TEST(JobMetrics, FollowThePrometheusNamingRules) {
  std::set<std::string_view> names, prometheus_names;
  for (const JobMetric& metric : JobMetrics()) {
    EXPECT_TRUE(names.insert(metric.name).second) << metric.name << " stands there twice";
    EXPECT_TRUE(prometheus_names.insert(metric.prometheus).second) << metric.prometheus;
    EXPECT_TRUE(metric.prometheus.starts_with("trainyard_")) << metric.prometheus;
    EXPECT_TRUE(prometheus::CheckMetricName(std::string(metric.prometheus))) << metric.prometheus;
    EXPECT_EQ(metric.prometheus.ends_with("_total"), metric.is_counter) << metric.prometheus;
    EXPECT_TRUE(metric.help.ends_with('.')) << metric.help;
    EXPECT_EQ(FindJobMetric(metric.name), &metric);
    EXPECT_THAT(JobMetricsMarkdown(), HasSubstr(std::string(metric.prometheus)));
  }
  EXPECT_EQ(FindJobMetric("step_phase_seconds/data"), nullptr);
}

TEST(Registry, ShowsFamiliesCollectablesAndTheProcess) {
  struct Comes : prometheus::Collectable {
    std::vector<prometheus::MetricFamily> Collect() const override {
      FamilyBuilder builder("trainyard_train_loss", "Loss.", prometheus::MetricType::Gauge);
      builder.Add({{"job_id", "a\"b"}}, 2.5);
      FamilyBuilder nothing("trainyard_nothing", "Nothing.", prometheus::MetricType::Gauge);
      std::vector<prometheus::MetricFamily> families;
      families.push_back(builder.Take());
      families.push_back(nothing.Take());
      return families;
    }
  };
  MetricsRegistry registry;
  prometheus::BuildCounter()
      .Name("trainyard_x_total")
      .Help("X.")
      .Register(registry.prometheus())
      .Add({})
      .Increment(3);
  auto comes = std::make_shared<Comes>();
  registry.Add(comes);
  const std::string page = registry.Exposition();
  EXPECT_THAT(page, HasSubstr("# TYPE trainyard_x_total counter\ntrainyard_x_total 3\n"));
  EXPECT_THAT(page, HasSubstr("trainyard_train_loss{job_id=\"a\\\"b\"} 2.5\n"));
  EXPECT_THAT(page, HasSubstr("process_resident_memory_bytes "));
  EXPECT_THAT(page, Not(HasSubstr("trainyard_nothing")));
  comes.reset();
  EXPECT_THAT(registry.Exposition(), Not(HasSubstr("trainyard_train_loss")));
}

TEST(RpcMetrics, CountUnderTheEcosystemsNames) {
  MetricsRegistry registry;
  RpcMetrics metrics(registry.prometheus());
  metrics.AddMethod("/trainyard.v1.JobService/WatchJob", RpcType::kServerStream);
  RpcMetrics::Method& method = metrics.Of("/trainyard.v1.JobService/WatchJob");
  method.Started();
  method.Received();
  method.Sent();
  method.Sent();
  method.Handled(5, absl::Milliseconds(3));
  const std::string page = registry.Exposition();
  const std::string labels =
      "grpc_method=\"WatchJob\",grpc_service=\"trainyard.v1.JobService\",grpc_type=\"server_"
      "stream\"";
  EXPECT_THAT(page, HasSubstr("grpc_server_started_total{" + labels + "} 1\n"));
  EXPECT_THAT(page, HasSubstr("grpc_server_msg_sent_total{" + labels + "} 2\n"));
  EXPECT_THAT(page,
              HasSubstr("grpc_server_handled_total{grpc_code=\"NotFound\"," + labels + "} 1"));
  EXPECT_THAT(page,
              HasSubstr("grpc_server_handling_seconds_bucket{" + labels + ",le=\"0.005\"} 1"));
  EXPECT_EQ(RpcCodeName(16), "Unauthenticated");
  EXPECT_EQ(RpcCodeName(99), "Unknown");
}

}  // namespace
}  // namespace trainyard
