// trainyard-trainer rank: the processes of an attempt under a scripted agent.
#include <gmock/gmock.h>
#include <signal.h>

#include <algorithm>

#include "common/blob_store.h"
#include "common/files.h"
#include "common/job_spec/local_data.h"
#include "common/job_spec/resolve.h"
#include "common/job_spec/yaml.h"
#include "tests/support/status_matchers.h"
#include "tests/worker/loop/scripted_agent.h"
#include "tests/worker/loop/tiny_job.h"
#include "worker/loop/outcome.h"
#include "worker/parallel/connect.h"

namespace trainyard::worker {
namespace {

using link::OutcomeKind;
using link::RankStatus;
using link::StopMode;
using testing::Contains;
using testing::HasSubstr;

constexpr int kExitFailed = 1, kExitStopped = 130;

class Ranks : public testing::Test {
 protected:
  // An attempt of the tiny job as a client submits it.
  AttemptOptions Attempt(int ranks, const std::vector<std::string>& set = {}) {
    AttemptOptions options;
    options.folder = job_.folder();
    options.blob_root = job_.folder() / "blobs";
    options.ranks = ranks;
    StatusOr<ParsedJob> parsed = ParseJobYaml(ReadFile(job_.file()).value(), "job.yaml");
    for (const std::string& assignment : set) {
      EXPECT_OK(ApplySet(&*parsed, assignment));
    }
    parsed->spec.resources.ranks = ranks;
    options.spec = Resolve(*parsed).value().spec;
    const auto blobs = DirectoryBlobStore::Open(options.blob_root).value();
    const LocalFiles files = DigestLocalData(options.spec).value();
    for (const auto& [sha256, file] : files) {
      EXPECT_OK(blobs->Put("datasets/" + sha256, ReadFile(file.path).value()));
    }
    for (auto* sources : {&options.spec.data.train, &options.spec.data.validation}) {
      for (DataSource& source : *sources) source.path.clear();
    }
    return options;
  }

  static void ExpectEnd(ScriptedAgent& agent, int rank, OutcomeKind kind,
                        const std::string& reason) {
    ASSERT_OK(agent.process(rank).Wait());
    const StatusOr<link::ExitRecord> record = agent.Record(rank);
    ASSERT_OK(record) << agent.process(rank).output();
    EXPECT_EQ(record->status.outcome->kind, kind) << agent.process(rank).output();
    EXPECT_EQ(record->status.outcome->reason, reason) << record->status.outcome->message;
  }

  std::string WeightsAt(const AttemptOptions& options, const std::string& key) {
    return Sha256OfFile(options.blob_root / key / "model.safetensors").value();
  }

  const TinyJob job_;
};

std::vector<std::string> LinesWith(const std::string& text, const std::string& word) {
  std::vector<std::string> lines;
  for (size_t at = text.find(word); at != std::string::npos; at = text.find(word, at + 1)) {
    lines.push_back(text.substr(at, text.find('\n', at) - at));
  }
  return lines;
}

TEST_F(Ranks, TwoHaveTheSameBitsAndTheCurveOfOne) {
  ScriptedAgent agent(Attempt(2));
  ASSERT_OK(agent.Start());
  ExpectEnd(agent, 0, OutcomeKind::kSucceeded, "");
  ExpectEnd(agent, 1, OutcomeKind::kSucceeded, "");
  // Each rank says at every checkpoint what its weights are.
  const auto weights_0 = LinesWith(agent.process(0).output(), "weights_crc32c=");
  EXPECT_EQ(weights_0.size(), 3u);
  EXPECT_EQ(weights_0, LinesWith(agent.process(1).output(), "weights_crc32c="));

  ASSERT_OK_AND_ASSIGN(const int code, job_.Run("alone"));
  ASSERT_EQ(code, 0);
  for (const char* metric : {"loss", "eval_loss", "grad_norm"}) {
    const Curve alone = job_.Metric("alone", metric);
    const auto two = agent.Metric(metric);
    ASSERT_EQ(two.size(), alone.size()) << metric;
    for (const auto& [step, value] : alone) {
      EXPECT_NEAR(two.at(step), value, 2e-4 * value) << metric << " at step " << step;
    }
  }
  EXPECT_EQ(agent.Metric("tokens_total"), job_.Metric("alone", "tokens_total"));
  EXPECT_GT(agent.Metric("step_phase_seconds/reduce").at(12), 0);
}

TEST_F(Ranks, AllComputeInWhatTheFirstChoseAndSaySo) {
  ScriptedAgent agent(Attempt(2, {"train.precision=auto", "train.max_steps=2"}));
  ASSERT_OK(agent.Start());
  ExpectEnd(agent, 0, OutcomeKind::kSucceeded, "");
  ExpectEnd(agent, 1, OutcomeKind::kSucceeded, "");
  ASSERT_TRUE(agent.status(0).choices.has_value());
  ASSERT_EQ(agent.status(0).choices->size(), 1u);
  const Choice choice = agent.status(0).choices->front();
  EXPECT_EQ(choice.field, "train.precision");
  EXPECT_THAT(choice.why, testing::ContainsRegex("measured: fp32 .* tokens/s, bf16 .* tokens/s"));
  for (const int rank : {0, 1}) {
    const std::string& output = agent.process(rank).output();
    EXPECT_THAT(output, testing::HasSubstr("precision=" + choice.value + " ")) << rank;
    EXPECT_THAT(output, testing::HasSubstr(choice.why)) << rank;
  }
  EXPECT_EQ(LinesWith(agent.process(0).output(), "weights_crc32c="),
            LinesWith(agent.process(1).output(), "weights_crc32c="));
}

TEST_F(Ranks, ALaterAttemptKeepsWhatIsRecordedAndMeasuresNothing) {
  const std::vector<std::string> set = {"train.precision=auto", "train.max_steps=2"};
  ScriptedAgent first(Attempt(1, set));
  ASSERT_OK(first.Start());
  ExpectEnd(first, 0, OutcomeKind::kSucceeded, "");
  ASSERT_TRUE(first.status(0).choices.has_value());
  const std::string own = first.status(0).choices->front().value;
  const std::string other = own == "fp32" ? "bf16" : "fp32";

  AttemptOptions options = Attempt(2, set);
  options.attempt = 2;
  ScriptedAgent second(options);
  second.Tell([&](link::Directive& directive) {
    directive.prepared = first.status(0).prepared;
    directive.choices = {{.field = "train.precision", .value = other, .why = "of attempt 1"}};
  });
  ASSERT_OK(second.Start());
  for (const int rank : {0, 1}) {
    ExpectEnd(second, rank, OutcomeKind::kSucceeded, "");
    EXPECT_THAT(second.process(rank).output(), HasSubstr("precision=" + other + " "));
    EXPECT_THAT(second.process(rank).output(), HasSubstr("of attempt 1"));
    EXPECT_THAT(second.process(rank).output(), testing::Not(HasSubstr("measured")));
  }
}

TEST_F(Ranks, TwoHaveTheSameBitsWithMuonAndItsCurveOfOne) {
  ScriptedAgent agent(Attempt(2, {"train.optim=muon", "train.precision=fp32"}));
  ASSERT_OK(agent.Start());
  ExpectEnd(agent, 0, OutcomeKind::kSucceeded, "");
  ExpectEnd(agent, 1, OutcomeKind::kSucceeded, "");
  const auto weights_0 = LinesWith(agent.process(0).output(), "weights_crc32c=");
  EXPECT_EQ(weights_0.size(), 3u);
  EXPECT_EQ(weights_0, LinesWith(agent.process(1).output(), "weights_crc32c="));

  ASSERT_OK_AND_ASSIGN(const int code, job_.Run("alone", {"--set", "train.optim=muon"}));
  ASSERT_EQ(code, 0);
  for (const auto& [step, value] : job_.Metric("alone", "loss")) {
    EXPECT_NEAR(agent.Metric("loss").at(step), value, 2e-3 * value) << "at step " << step;
  }
}

TEST_F(Ranks, SucceedOnlyOnceTheLastCheckpointIsRecorded) {
  AttemptOptions options = Attempt(1);
  options.record_checkpoints = false;
  ScriptedAgent agent(options);
  ASSERT_OK(agent.Start());
  ASSERT_TRUE(agent.Await(0, [](const RankStatus& s) {
    return s.phase == link::Phase::kFinishing && s.waiting_for_coordinator;
  }));
  const RankStatus waiting = agent.status(0);
  EXPECT_EQ(waiting.step, 12);
  EXPECT_FALSE(waiting.outcome.has_value());
  ASSERT_TRUE(waiting.checkpoint.has_value());
  EXPECT_EQ(waiting.checkpoint->step, 12);
  EXPECT_EQ(waiting.checkpoint->key, "checkpoints/tiny-00000/step-00000012-a1");
  EXPECT_GT(waiting.beat, 24);  // 12 steps of two micro-batches, and the evaluations
  EXPECT_GT(waiting.step_seconds_p99, 0);
  agent.RecordCheckpoints();
  ExpectEnd(agent, 0, OutcomeKind::kSucceeded, "");
}

TEST_F(Ranks, StopAfterTheSameStepWithACheckpointFromWhichTheJobGoesOnToTheSameBits) {
  const std::vector<std::string> set = {"train.max_steps=40", "checkpoint.save_steps=0"};
  AttemptOptions options = Attempt(2, set);
  std::string whole;
  {
    options.attempt = 1;
    ScriptedAgent agent(options);
    ASSERT_OK(agent.Start());
    ExpectEnd(agent, 0, OutcomeKind::kSucceeded, "");
    whole = WeightsAt(options, agent.newest_checkpoint()->key);
  }
  options.attempt = 2;
  ScriptedAgent stopped(options);
  ASSERT_OK(stopped.Start());
  ASSERT_TRUE(stopped.Await(1, [](const RankStatus& s) { return s.step >= 3; }));
  // One of them hears it first; both stop after the same step.
  stopped.Tell([](link::Directive& d) { d.stop = StopMode::kCheckpoint; }, /*only_rank=*/1);
  ExpectEnd(stopped, 0, OutcomeKind::kStopped, kStopped);
  ASSERT_OK_AND_ASSIGN(const int code, stopped.process(0).Wait());
  EXPECT_EQ(code, kExitStopped);
  ExpectEnd(stopped, 1, OutcomeKind::kStopped, kStopped);
  const std::optional<link::WrittenCheckpoint> left = stopped.newest_checkpoint();
  ASSERT_TRUE(left.has_value());
  EXPECT_LT(left->step, 40);
  EXPECT_EQ(stopped.Record(0)->status.step, left->step);
  EXPECT_EQ(stopped.Record(1)->status.step, left->step);

  options.attempt = 3;
  options.resume = link::ResumePoint{left->step, left->key, left->manifest_digest};
  ScriptedAgent resumed(options);
  ASSERT_OK(resumed.Start());
  ExpectEnd(resumed, 0, OutcomeKind::kSucceeded, "");
  ExpectEnd(resumed, 1, OutcomeKind::kSucceeded, "");
  EXPECT_EQ(WeightsAt(options, resumed.newest_checkpoint()->key), whole);
  EXPECT_THAT(resumed.EventTypes(), Contains("RESUMED"));
  EXPECT_EQ(resumed.Metric("loss").begin()->first, left->step + 1);
}

TEST_F(Ranks, AreFreedWhenAPeerIsKilled) {
  ScriptedAgent agent(Attempt(2, {"train.max_steps=100000"}));
  ASSERT_OK(agent.Start());
  ASSERT_TRUE(agent.Await(0, [](const RankStatus& s) { return s.step >= 2; }));
  agent.process(1).Signal(SIGKILL);
  ExpectEnd(agent, 0, OutcomeKind::kFailed, kPeerLost);
  ASSERT_OK_AND_ASSIGN(const int end, agent.process(1).Wait());
  EXPECT_EQ(end, -SIGKILL);
  EXPECT_THAT(agent.Record(1), StatusIs(StatusCode::kNotFound, HasSubstr("exit.json")));
}

TEST_F(Ranks, LeaveAtOnceWhenToldEvenIfAPeerHangs) {
  ScriptedAgent agent(Attempt(2, {"train.max_steps=100000"}));
  ASSERT_OK(agent.Start());
  ASSERT_TRUE(agent.Await(0, [](const RankStatus& s) { return s.step >= 2; }));
  agent.process(1).Signal(SIGSTOP);
  // The other waits in a collective and says all the while that it lives.
  ASSERT_TRUE(agent.AwaitWords(0, 3));
  EXPECT_GE(agent.status(0).collective_sequence, agent.status(1).collective_sequence);
  agent.Tell([](link::Directive& d) { d.stop = StopMode::kNow; });
  const absl::Time told = absl::Now();
  ExpectEnd(agent, 0, OutcomeKind::kStopped, kStopped);
  EXPECT_LT(absl::Now() - told, absl::Seconds(8));
  agent.process(1).Signal(SIGKILL);
  agent.process(1).Signal(SIGCONT);
  ASSERT_OK(agent.process(1).Wait());
}

TEST_F(Ranks, SaveAndLeaveWhenNoAgentDialsAnyMore) {
  AttemptOptions options = Attempt(1, {"train.max_steps=1000000"});
  options.agent_timeout_seconds = 1;
  ScriptedAgent agent(options);
  ASSERT_OK(agent.Start());
  ASSERT_TRUE(agent.Await(0, [](const RankStatus& s) { return s.step >= 2; }));
  agent.HangUp(0);
  ExpectEnd(agent, 0, OutcomeKind::kStopped, kAgentLost);
  ASSERT_OK_AND_ASSIGN(const link::ExitRecord record, agent.Record(0));
  ASSERT_TRUE(record.status.checkpoint.has_value());
  EXPECT_EQ(record.status.checkpoint->step, record.status.step);
  EXPECT_FALSE(record.telemetry_file.empty());  // what it had to say after the agent left
}

TEST_F(Ranks, ADamagedCheckpointIsRefusedByName) {
  AttemptOptions options = Attempt(1);
  {
    ScriptedAgent agent(options);
    ASSERT_OK(agent.Start());
    ExpectEnd(agent, 0, OutcomeKind::kSucceeded, "");
    const link::WrittenCheckpoint last = *agent.newest_checkpoint();
    options.resume = link::ResumePoint{last.step, last.key, last.manifest_digest};
  }
  std::filesystem::resize_file(options.blob_root / options.resume->key / "model.safetensors", 999);
  options.attempt = 2;
  ScriptedAgent agent(options);
  ASSERT_OK(agent.Start());
  ExpectEnd(agent, 0, OutcomeKind::kFailed, kCheckpointDamaged);
  EXPECT_THAT(agent.Record(0)->status.outcome->message,
              testing::AllOf(HasSubstr("step-00000012-a1"), HasSubstr("model.safetensors")));
}

TEST_F(Ranks, LeaveARecordThatSaysWhatTheUserCanMend) {
  ScriptedAgent agent(Attempt(1, {"model.config.vocab_size=300"}));
  ASSERT_OK(agent.Start());
  ASSERT_OK_AND_ASSIGN(const int code, agent.process(0).Wait());
  EXPECT_EQ(code, kExitFailed);
  ExpectEnd(agent, 0, OutcomeKind::kFailed, kBadInput);
  EXPECT_THAT(agent.Record(0)->status.outcome->message,
              HasSubstr("model.config.vocab_size is 300"));
}

TEST_F(Ranks, StopBeforeTheFirstStepWithoutACheckpoint) {
  AttemptOptions options = Attempt(2);
  ScriptedAgent agent(options);
  agent.Tell([](link::Directive& d) { d.stop = StopMode::kCheckpoint; });
  ASSERT_OK(agent.Start());
  ExpectEnd(agent, 0, OutcomeKind::kStopped, kStopped);
  ExpectEnd(agent, 1, OutcomeKind::kStopped, kStopped);
  EXPECT_FALSE(agent.newest_checkpoint().has_value());
}

TEST_F(Ranks, AStopFreesARankThatWaitsForAPeerWhichHasLeft) {
  ScriptedAgent agent(Attempt(2));
  // Rank 1 hears the stop first and leaves before it listens; rank 0 goes on to meet it.
  agent.Tell([](link::Directive& d) { d.stop = StopMode::kCheckpoint; }, /*only_rank=*/1);
  agent.Tell(
      [](link::Directive& d) {
        d.peers = {"127.0.0.1:1", "127.0.0.1:1"};
      },
      /*only_rank=*/0);
  ASSERT_OK(agent.Start());
  ExpectEnd(agent, 1, OutcomeKind::kStopped, kStopped);
  ASSERT_TRUE(agent.Await(0, [](const RankStatus& s) {
    return s.phase == link::Phase::kLoading && !s.listen_address.empty();
  }));
  agent.Tell([](link::Directive& d) { d.stop = StopMode::kCheckpoint; }, /*only_rank=*/0);
  const absl::Time told = absl::Now();
  ExpectEnd(agent, 0, OutcomeKind::kStopped, kStopped);
  EXPECT_LT(absl::Now() - told, absl::Seconds(8));  // far below connect_timeout
  EXPECT_FALSE(agent.newest_checkpoint().has_value());
}

// Rank 0 of two meets the test itself, which leaves before the first step.
class LeftAlone : public Ranks {
 protected:
  LeftAlone() : agent_(Attempt(2)) {
    agent_.Tell([](link::Directive& d) { d.stop = StopMode::kCheckpoint; }, /*only_rank=*/1);
    EXPECT_OK(agent_.Start());
    EXPECT_TRUE(agent_.Await(0, [](const RankStatus& s) { return !s.listen_address.empty(); }));
    const auto listener = PeerListener::Open();
    EXPECT_OK(listener);
    const std::vector<std::string> peers = {agent_.status(0).listen_address, listener->address()};
    agent_.Tell([&](link::Directive& d) { d.peers = peers; }, /*only_rank=*/0);
    EXPECT_OK(Connect(*listener, peers, /*rank=*/1, kAttemptSecret, absl::Seconds(30)));
  }
  ScriptedAgent agent_;
};

TEST_F(LeftAlone, IsAStopForARankThatHearsOfItShortlyAfter) {
  absl::SleepFor(absl::Milliseconds(300));  // the time in which a stop spreads
  agent_.Tell([](link::Directive& d) { d.stop = StopMode::kCheckpoint; }, /*only_rank=*/0);
  ExpectEnd(agent_, 0, OutcomeKind::kStopped, kStopped);
}

TEST_F(LeftAlone, IsALostPeerWithoutAStop) {
  ExpectEnd(agent_, 0, OutcomeKind::kFailed, kPeerLost);
}

TEST(TrainerProgram, LinksTorchButNeitherGrpcNorProtobuf) {
  ASSERT_OK_AND_ASSIGN(Process ldd,
                       Process::Start({.command = {"/usr/bin/ldd", TrainerProgram()}}));
  ASSERT_OK_AND_ASSIGN(const int code, ldd.Wait());
  ASSERT_EQ(code, 0) << ldd.output();
  EXPECT_THAT(ldd.output(), HasSubstr("libtorch_cpu"));
  for (const char* library : {"libgrpc", "libprotobuf", "libabsl_log", "libsentencepiece"}) {
    EXPECT_THAT(ldd.output(), testing::Not(HasSubstr(library)));
  }
}

}  // namespace
}  // namespace trainyard::worker
