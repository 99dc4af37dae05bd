#include "tests/coordinator/service/fixture.h"

#include "common/files.h"

namespace trainyard::coordinator {
namespace {

constexpr absl::Duration kCallLimit = absl::Seconds(20);

}  // namespace

void ServiceTest::Start() {
  auto store = Store::Open(folder_.path() / "trainyard.db");
  ASSERT_OK(store);
  store_ = *std::move(store);
  writer_ = std::make_unique<StoreWriter>(*store_, [](const Status& status) {
    ADD_FAILURE() << "the store failed: " << status.ToString();
  });
  auto history = History::Open(folder_.path() / "history", {});
  ASSERT_OK(history);
  history_ = *std::move(history);
  auto blobs = DirectoryBlobStore::Open(folder_.path() / "blobs");
  ASSERT_OK(blobs);
  blobs_ = *std::move(blobs);
  auto tokens = TokenTable::Load(*store_);
  ASSERT_OK(tokens);
  tokens_ = *std::move(tokens);
  if (admin_.empty()) {
    admin_ = *tokens_->Mint(TokenKind::kClient, Role::kAdmin, clock_.Now());
    worker_ = *tokens_->Mint(TokenKind::kWorker, Role::kViewer, clock_.Now());
  }
  CoordinatorOptions options;
  options.epoch = RandomHex(4);
  auto coordinator = Coordinator::Open(options, clock_, *store_);
  ASSERT_OK(coordinator);
  coordinator_ = *std::move(coordinator);
  metrics_ = std::make_unique<MetricsRegistry>();
  usage_ = std::make_unique<UsageMeter>(*blobs_, *history_, *store_, clock_);
  auto server = GrpcServer::Start(
      {.address = "127.0.0.1:0"},
      {*coordinator_, *store_, *history_, *blobs_, *tokens_, *metrics_, clock_, *usage_});
  ASSERT_OK(server);
  server_ = *std::move(server);
  ticker_ = Thread("test-ticker", [this] {
    while (!stop_ticking_.WaitFor(absl::Milliseconds(50))) coordinator_->Tick();
  });
  channel_ = *OpenChannel({.address = server_->address()});
  jobs_ = v1::JobService::NewStub(channel_);
  workers_ = v1::WorkerService::NewStub(channel_);
  blob_calls_ = v1::BlobService::NewStub(channel_);
  checkpoints_ = v1::CheckpointService::NewStub(channel_);
}

void ServiceTest::Stop() {
  stop_ticking_.Stop();
  ticker_.Join();
  server_.reset();
  coordinator_.reset();
  writer_.reset();
  tokens_.reset();
  usage_.reset();
  history_.reset();
  store_.reset();
  // A StopSignal stays fired.
  std::destroy_at(&stop_ticking_);
  std::construct_at(&stop_ticking_);
}

std::unique_ptr<grpc::ClientContext> ServiceTest::As(const std::string& token) const {
  auto context = std::make_unique<grpc::ClientContext>();
  PrepareCall(context.get(), token, kCallLimit);
  return context;
}

std::string ServiceTest::PutDataset(const std::string& bytes) {
  const std::string digest = Sha256(bytes);
  EXPECT_OK(blobs_->Put("datasets/" + digest, bytes));
  return digest;
}

v1::CreateJobRequest ServiceTest::Request(const std::string& name) {
  v1::CreateJobRequest request;
  v1::JobSpec* spec = request.mutable_spec();
  spec->set_version(1);
  spec->set_name(name);
  spec->set_kind("pretrain");
  spec->mutable_model()->set_preset("llama-nano");
  spec->mutable_tokenizer()->mutable_train()->set_vocab_size(512);
  const std::string text = "To be, or not to be, that is the question.\n";
  v1::DataSource* source = spec->mutable_data()->add_train();
  source->set_path("plays/hamlet.txt");
  source->set_format("text");
  v1::BlobRef* file = source->add_files();
  file->set_name("hamlet.txt");
  file->set_sha256(PutDataset(text));
  file->set_size_bytes(static_cast<int64_t>(text.size()));
  spec->mutable_train()->set_max_steps(400);
  spec->mutable_train()->set_global_batch_size(8);
  return request;
}

v1::Job ServiceTest::Create(const v1::CreateJobRequest& request) {
  v1::Job job;
  const auto context = AsAdmin();
  EXPECT_OK(FromGrpc(jobs_->CreateJob(context.get(), request, &job)));
  return job;
}

v1::Job ServiceTest::WaitForState(const std::string& name, v1::JobState wanted) {
  v1::WatchJobRequest request;
  request.set_name(name);
  const auto context = AsAdmin();
  const auto stream = jobs_->WatchJob(context.get(), request);
  v1::WatchJobResponse response;
  while (stream->Read(&response))
    if (response.job().state() == wanted) {
      context->TryCancel();
      return response.job();
    }
  ADD_FAILURE() << name << " never was " << v1::JobState_Name(wanted) << ", last "
                << response.job().ShortDebugString();
  return response.job();
}

FakeWorker::FakeWorker(v1::WorkerService::Stub& stub, std::unique_ptr<grpc::ClientContext> context,
                       const std::string& id)
    : context_(std::move(context)), stream_(stub.Session(context_.get())) {
  report.set_worker_id(id);
  report.set_worker_epoch("epoch-of-" + id);
  report.set_host("test-host");
  report.set_host_id("test-host");
  report.set_version("0.1");
  v1::Slot* slot = report.add_slots();
  slot->set_index(0);
  slot->set_device("cpu");
}

FakeWorker::~FakeWorker() {
  if (stream_ == nullptr) return;
  context_->TryCancel();
  (void)stream_->Finish();
}

bool FakeWorker::Receive() {
  v1::DesiredState message;
  if (!stream_->Read(&message)) return false;
  desired = std::move(message);
  google::protobuf::RepeatedPtrField<v1::RankReport> had;
  had.Swap(report.mutable_ranks());
  for (const v1::DesiredRank& wanted : desired.ranks()) {
    v1::RankReport* rank = report.add_ranks();
    for (const v1::RankReport& old : had)
      if (old.job_id() == wanted.job_id() && old.attempt() == wanted.attempt() &&
          old.rank() == wanted.rank().rank())
        *rank = old;
    rank->set_job_id(wanted.job_id());
    rank->set_attempt(wanted.attempt());
    rank->set_rank(wanted.rank().rank());
    if (rank->process().empty()) rank->set_process("running");
  }
  return true;
}

bool FakeWorker::Report() {
  report.set_report_number(report.report_number() + 1);
  if (!stream_->Write(report)) return false;
  do {
    if (!Receive()) return false;  // what was sent unasked, before the report came in, is older
  } while (desired.report_number() < report.report_number());
  return true;
}

void FakeWorker::WaitForRanks(int n) {
  while (desired.ranks_size() != n) ASSERT_TRUE(Report()) << "the session has ended";
}

Status FakeWorker::Finish() {
  stream_->WritesDone();
  v1::DesiredState rest;
  while (stream_->Read(&rest)) continue;
  const grpc::Status status = stream_->Finish();
  stream_ = nullptr;
  return FromGrpc(status);
}

}  // namespace trainyard::coordinator
