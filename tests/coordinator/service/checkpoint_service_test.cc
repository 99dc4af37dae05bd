#include <gmock/gmock.h>

#include "common/checkpoint_manifest.h"
#include "common/files.h"
#include "tests/coordinator/service/fixture.h"

namespace trainyard::coordinator {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::SizeIs;

// A job with one recorded checkpoint, at step 100, of two files.
class CheckpointServiceTest : public ServiceTest {
 protected:
  CheckpointServiceTest() : worker_process_(*workers_, AsWorker(), "worker-0") {
    EXPECT_TRUE(worker_process_.Report());
    job_ = Create(Request());
    worker_process_.WaitForRanks(1);
    key_ = "checkpoints/" + job_.job_id() + "/" + CheckpointFolderName(100, 1);
    EXPECT_OK(blobs_->Put(key_ + "/model.safetensors", "weights"));
    EXPECT_OK(blobs_->Put(key_ + "/config.json", "{}"));
    const auto folder = blobs_->LocalPath(key_);
    EXPECT_OK(MakeFolders(**folder / "trainyard"));
    const auto digest = WriteManifest(
        **folder,
        {.job = job_.job_id(),
         .attempt = 1,
         .step = 100,
         .files = {{"config.json", Sha256("{}"), 2}, {"model.safetensors", Sha256("weights"), 7}}});
    EXPECT_OK(digest);
    digest_ = digest.value_or("");
    Record();
  }

  // Lets the rank train, and say that it has written the checkpoint, until it is recorded.
  void Record() {
    v1::RankReport* rank = worker_process_.report.mutable_ranks(0);
    rank->set_process("running");
    rank->set_prepare_done(true);
    rank->set_phase("training");
    rank->set_listen_address("127.0.0.1:1");
    rank->set_step(100);
    rank->set_checkpoint_step(100);
    rank->set_checkpoint_key(key_);
    rank->set_checkpoint_digest(digest_);
    rank->set_checkpoint_size_bytes(9);
    for (int i = 0; i < 200; ++i) {
      ASSERT_TRUE(worker_process_.Report());
      if (worker_process_.desired.ranks_size() == 1 &&
          worker_process_.desired.ranks(0).recorded_step() == 100)
        return;
    }
    FAIL() << "never recorded: " << worker_process_.desired.ShortDebugString();
  }
  std::string Name(const std::string& step) const { return job_.name() + "/checkpoints/" + step; }
  StatusOr<v1::GetCheckpointResponse> Get(const std::string& name) {
    const auto context = AsAdmin();
    v1::GetCheckpointRequest request;
    request.set_name(name);
    v1::GetCheckpointResponse response;
    RETURN_IF_ERROR(FromGrpc(checkpoints_->GetCheckpoint(context.get(), request, &response)));
    return response;
  }
  v1::VerifyCheckpointResponse Verify() {
    const auto context = AsAdmin();
    v1::VerifyCheckpointRequest request;
    request.set_name(Name("latest"));
    v1::VerifyCheckpointResponse response;
    EXPECT_OK(FromGrpc(checkpoints_->VerifyCheckpoint(context.get(), request, &response)));
    return response;
  }

  FakeWorker worker_process_;
  v1::Job job_;
  std::string key_, digest_;
};

TEST_F(CheckpointServiceTest, ShowsRecordedOnesWithTheirFiles) {
  const auto context = AsAdmin();
  v1::ListCheckpointsRequest request;
  request.set_parent(job_.name());
  v1::ListCheckpointsResponse response;
  ASSERT_OK(FromGrpc(checkpoints_->ListCheckpoints(context.get(), request, &response)));
  ASSERT_THAT(response.checkpoints(), SizeIs(1));
  EXPECT_EQ(response.checkpoints(0).step(), 100);
  for (const char* step : {"100", "latest"}) {
    ASSERT_OK_AND_ASSIGN(const v1::GetCheckpointResponse got, Get(Name(step)));
    EXPECT_EQ(got.checkpoint().key(), key_);
    ASSERT_THAT(got.files(), SizeIs(3));
    EXPECT_EQ(got.files(2).path(), "trainyard/manifest.json");
    EXPECT_EQ(got.files(2).sha256(), digest_);
  }
  EXPECT_EQ(ReasonOf(Get(Name("200")).status()), "CHECKPOINT_NOT_FOUND");
  EXPECT_EQ(FieldOf(Get(Name("newest")).status()), "name");
  EXPECT_EQ(FieldOf(Get(job_.name()).status()), "name");
}

TEST_F(CheckpointServiceTest, ItsFilesCanBeDownloaded) {
  const auto context = AsAdmin();
  v1::DownloadRequest request;
  request.set_key(key_ + "/model.safetensors");
  const auto stream = blob_calls_->Download(context.get(), request);
  v1::DownloadResponse response;
  ASSERT_TRUE(stream->Read(&response));
  EXPECT_EQ(response.data(), "weights");
  EXPECT_EQ(response.size_bytes(), 7);
}

TEST_F(CheckpointServiceTest, VerifyNamesEveryBadFile) {
  v1::VerifyCheckpointResponse response = Verify();
  EXPECT_TRUE(response.intact());
  EXPECT_THAT(response.problems(), IsEmpty());
  ASSERT_OK(blobs_->Put(key_ + "/model.safetensors", "weighty"));
  ASSERT_OK(blobs_->Delete(key_ + "/config.json"));
  ASSERT_OK(blobs_->Put(key_ + "/stranger", "?"));
  response = Verify();
  EXPECT_FALSE(response.intact());
  EXPECT_THAT(
      response.problems(),
      ElementsAre(HasSubstr("config.json"), HasSubstr("model.safetensors"), HasSubstr("stranger")));
  ASSERT_OK(blobs_->Put(key_ + "/trainyard/manifest.json", "{}"));
  response = Verify();
  EXPECT_FALSE(response.intact());
  EXPECT_THAT(response.problems(), ElementsAre(HasSubstr("manifest")));
}

TEST_F(CheckpointServiceTest, OneWhoseFolderWasRemovedByHandIsCalledThat) {
  const auto list = [&] {
    const auto context = AsAdmin();
    v1::ListCheckpointsRequest request;
    request.set_parent(job_.name());
    v1::ListCheckpointsResponse response;
    EXPECT_OK(FromGrpc(checkpoints_->ListCheckpoints(context.get(), request, &response)));
    return response;
  };
  EXPECT_FALSE(list().checkpoints(0).removed_by_hand());
  ASSERT_OK(blobs_->DeletePrefix(key_));
  ASSERT_THAT(list().checkpoints(), SizeIs(1));
  EXPECT_TRUE(list().checkpoints(0).removed_by_hand());
  const Status get = Get(Name("latest")).status();
  EXPECT_THAT(get, StatusIs(StatusCode::kDataLoss, HasSubstr("checkpoint 100 of " + job_.job_id() +
                                                             ": its folder was removed by hand")));
  EXPECT_EQ(ReasonOf(get), "CHECKPOINT_REMOVED_BY_HAND");
  const v1::VerifyCheckpointResponse verified = Verify();
  EXPECT_FALSE(verified.intact());
  EXPECT_THAT(verified.problems(), ElementsAre(HasSubstr("removed by hand")));
}

TEST_F(CheckpointServiceTest, DeleteAnswersWithItAndRepeatsThat) {
  const auto remove = [&](const std::string& step, const std::string& request_id) {
    const auto context = AsAdmin();
    v1::DeleteCheckpointRequest request;
    request.set_name(Name(step));
    request.set_request_id(request_id);
    v1::Checkpoint response;
    const Status status =
        FromGrpc(checkpoints_->DeleteCheckpoint(context.get(), request, &response));
    return status.ok() ? StatusOr<v1::Checkpoint>(response) : status;
  };
  EXPECT_EQ(ReasonOf(remove("100", "").status()), "CHECKPOINT_NEEDED") << "it trains";
  v1::RankReport* rank = worker_process_.report.mutable_ranks(0);
  rank->set_step(200);
  rank->set_checkpoint_step(200);
  const std::string second = "checkpoints/" + job_.job_id() + "/" + CheckpointFolderName(200, 1);
  rank->set_checkpoint_key(second);
  for (int i = 0; i < 200 && worker_process_.desired.ranks(0).recorded_step() != 200; ++i)
    ASSERT_TRUE(worker_process_.Report());
  ASSERT_OK_AND_ASSIGN(const v1::Checkpoint deleted, remove("100", "d-1"));
  EXPECT_EQ(deleted.key(), key_);
  EXPECT_EQ(remove("100", "d-1")->key(), key_);
  EXPECT_EQ(ReasonOf(remove("100", "").status()), "CHECKPOINT_NOT_FOUND");
  EXPECT_EQ(ReasonOf(Get(Name("100")).status()), "CHECKPOINT_NOT_FOUND");
}

// ------------------------------------------------------------- jobs that go on from a checkpoint

class ModelFromTest : public CheckpointServiceTest {
 protected:
  v1::CreateJobRequest From(const std::string& ref) {
    v1::CreateJobRequest request = Request("further");
    request.mutable_spec()->mutable_model()->clear_preset();
    request.mutable_spec()->mutable_model()->set_from(ref);
    request.mutable_spec()->clear_tokenizer();
    return request;
  }
  Status Refusal(const v1::CreateJobRequest& request) {
    const auto context = AsAdmin();
    v1::Job job;
    return FromGrpc(jobs_->CreateJob(context.get(), request, &job));
  }
};

TEST_F(ModelFromTest, AJobKeepsTheFilesOfTheCheckpointItGoesOnFrom) {
  const std::vector<std::string> refs = {"job:shakespeare@latest", "job:shakespeare@100",
                                         "job:shakespeare", "job:" + job_.job_id() + "@latest"};
  for (const std::string& ref : refs) {
    const v1::Job job = Create(From(ref));
    EXPECT_EQ(job.spec().model().from(), "job:" + job_.job_id() + "@100");
    ASSERT_THAT(job.spec().model().files(), SizeIs(2));
    EXPECT_EQ(job.spec().model().files(1).name(), "model.safetensors");
    EXPECT_EQ(job.spec().model().files(1).sha256(), Sha256("weights"));
    EXPECT_EQ(job.spec().model().files(1).size_bytes(), 7);
  }
  // The other job's checkpoints may go.
  ASSERT_OK(blobs_->DeletePrefix(key_));
  EXPECT_EQ(*blobs_->ReadAll("datasets/" + Sha256("weights")), "weights");
}

TEST_F(ModelFromTest, WhatAClientSaysOfTheFilesDoesNotCount) {
  v1::CreateJobRequest request = From("job:shakespeare");
  v1::BlobRef* file = request.mutable_spec()->mutable_model()->add_files();
  file->set_name("../config.json");
  file->set_sha256(std::string(64, 'a'));
  EXPECT_EQ(Create(request).spec().model().files(0).sha256(), Sha256("{}"));
}

TEST_F(ModelFromTest, ADryRunStoresNothing) {
  v1::CreateJobRequest request = From("job:shakespeare@latest");
  request.set_validate_only(true);
  EXPECT_EQ(Create(request).spec().model().from(), "job:" + job_.job_id() + "@100");
  EXPECT_FALSE(*blobs_->Exists("datasets/" + Sha256("weights")));
}

TEST_F(ModelFromTest, RefusesWhatIsNotThereOrDamaged) {
  EXPECT_THAT(Refusal(From("job:nobody@latest")),
              StatusIs(StatusCode::kNotFound, HasSubstr("nobody")));
  const Status step = Refusal(From("job:shakespeare@7"));
  EXPECT_THAT(step, StatusIs(StatusCode::kNotFound, HasSubstr("no recorded checkpoint 7")));
  EXPECT_EQ(ReasonOf(step), "CHECKPOINT_NOT_FOUND");
  EXPECT_EQ(FieldOf(step), "model.from");
  EXPECT_THAT(Refusal(From("job:shakespeare@soon")),
              StatusIs(StatusCode::kInvalidArgument, HasSubstr("no step")));
  ASSERT_OK(blobs_->Put(key_ + "/model.safetensors", "weighty"));
  EXPECT_THAT(Refusal(From("job:shakespeare@latest")),
              StatusIs(StatusCode::kDataLoss, HasSubstr("model.safetensors: its bytes are not")));
  EXPECT_FALSE(*blobs_->Exists("datasets/" + Sha256("weights")));
  ASSERT_OK(blobs_->DeletePrefix(key_));
  const Status removed = Refusal(From("job:shakespeare@latest"));
  EXPECT_THAT(removed, StatusIs(StatusCode::kDataLoss, HasSubstr("removed by hand")));
  EXPECT_EQ(FieldOf(removed), "model.from");
}

TEST_F(ModelFromTest, AFolderOfTheClientMustHaveBeenUploaded) {
  v1::CreateJobRequest request = From("models/mine");
  EXPECT_EQ(FieldOf(Refusal(request)), "model.files");
  v1::BlobRef* file = request.mutable_spec()->mutable_model()->add_files();
  file->set_name("config.json");
  file->set_sha256(Sha256("{ }"));
  file->set_size_bytes(3);
  const Status missing = Refusal(request);
  EXPECT_EQ(ReasonOf(missing), "MISSING_BLOBS");
  EXPECT_EQ(FieldOf(missing), "model.from");
  PutDataset("{ }");
  EXPECT_EQ(Create(request).spec().model().from(), "models/mine");
}

}  // namespace
}  // namespace trainyard::coordinator
