#include "coordinator/service/blob_service.h"

#include <gmock/gmock.h>

#include "common/files.h"
#include "tests/coordinator/service/fixture.h"

namespace trainyard::coordinator {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

class BlobServiceTest : public ServiceTest {
 protected:
  // Sends bytes from `offset` up to `until`; claims the digest of `promised` (default: the bytes).
  Status Upload(const std::string& bytes, int64_t offset, size_t until = std::string::npos,
                std::string digest = "") {
    const auto context = AsAdmin();
    v1::UploadResponse response;
    const auto stream = blob_calls_->Upload(context.get(), &response);
    v1::UploadRequest request;
    request.set_sha256(digest.empty() ? Sha256(bytes) : digest);
    request.set_size_bytes(static_cast<int64_t>(bytes.size()));
    request.set_offset(offset);
    const std::string part = bytes.substr(
        static_cast<size_t>(offset), std::min(until, bytes.size()) - static_cast<size_t>(offset));
    for (size_t at = 0; at == 0 || at < part.size(); at += 1000) {
      request.set_data(part.substr(at, 1000));
      if (!stream->Write(request)) break;
      request = {};
    }
    stream->WritesDone();
    const Status status = FromGrpc(stream->Finish());
    if (status.ok()) {
      EXPECT_EQ(response.sha256(), digest.empty() ? Sha256(bytes) : digest);
    }
    return status;
  }
  v1::GetUploadResponse GetUpload(const std::string& digest) {
    const auto context = AsAdmin();
    v1::GetUploadRequest request;
    request.set_sha256(digest);
    v1::GetUploadResponse response;
    EXPECT_OK(FromGrpc(blob_calls_->GetUpload(context.get(), request, &response)));
    return response;
  }
  StatusOr<std::string> Download(const std::string& key, int64_t offset = 0) {
    const auto context = AsAdmin();
    v1::DownloadRequest request;
    request.set_key(key);
    request.set_offset(offset);
    const auto stream = blob_calls_->Download(context.get(), request);
    v1::DownloadResponse response;
    std::string bytes;
    while (stream->Read(&response)) bytes += response.data();
    RETURN_IF_ERROR(FromGrpc(stream->Finish()));
    return bytes;
  }
  static std::string Noise(size_t n) {
    std::string bytes(n, '\0');
    uint32_t state = 1;
    for (char& c : bytes) c = static_cast<char>((state = state * 1664525 + 1013904223) >> 24);
    return bytes;
  }
};

TEST_F(BlobServiceTest, WhatWentUpComesDown) {
  const std::string bytes = Noise(3'000'000);
  ASSERT_OK(Upload(bytes, 0));
  EXPECT_TRUE(GetUpload(Sha256(bytes)).complete());
  const std::string key = "datasets/" + Sha256(bytes);
  EXPECT_TRUE(*Download(key) == bytes);
  EXPECT_TRUE(*Download(key, 2'999'990) == bytes.substr(2'999'990));
  EXPECT_EQ(*Download(key, 3'000'000), "");
  EXPECT_EQ(FieldOf(Download(key, 3'000'001).status()), "offset");
  ASSERT_OK(Upload(bytes, 0)) << "again: it is there already";
}

TEST_F(BlobServiceTest, AnInterruptedUploadGoesOnWhereItWas) {
  const std::string bytes = Noise(10'000);
  const std::string digest = Sha256(bytes);
  EXPECT_EQ(GetUpload(digest).received_bytes(), 0);
  EXPECT_THAT(Upload(bytes, 0, 4'000),
              StatusIs(StatusCode::kFailedPrecondition, HasSubstr("4000")));
  EXPECT_EQ(GetUpload(digest).received_bytes(), 4'000);
  Restart();
  EXPECT_EQ(GetUpload(digest).received_bytes(), 4'000);
  const Status wrong = Upload(bytes, 5'000);
  EXPECT_EQ(ReasonOf(wrong), "UPLOAD_OFFSET");
  EXPECT_THAT(MessageOf(wrong), HasSubstr("4000"));
  ASSERT_OK(Upload(bytes, 4'000));
  EXPECT_TRUE(*Download("datasets/" + digest) == bytes);
}

TEST_F(BlobServiceTest, BytesOfAnotherDigestAreDroppedAndMayBeSentAnew) {
  const std::string bytes = Noise(5'000);
  std::string forged = bytes;
  forged[77] ^= 1;
  EXPECT_THAT(Upload(forged, 0, std::string::npos, Sha256(bytes)),
              StatusIs(StatusCode::kDataLoss, HasSubstr("SHA-256")));
  EXPECT_EQ(Download("datasets/" + Sha256(bytes)).status().code(), StatusCode::kNotFound);
  ASSERT_OK(Upload(bytes, 0));
}

TEST_F(BlobServiceTest, AnEmptyBlobIsABlob) {
  ASSERT_OK(Upload("", 0));
  EXPECT_EQ(*Download("datasets/" + Sha256("")), "");
}

TEST_F(BlobServiceTest, UploadsThatBreakTheRulesAreRefused) {
  EXPECT_EQ(FieldOf(Upload("abc", 0, 3, "not-a-digest")), "sha256");
  EXPECT_EQ(FieldOf(Upload("abc", 0, 3, "../../../../etc/passwd")), "sha256");
  const auto send = [&](const v1::UploadRequest& request) {
    const auto context = AsAdmin();
    v1::UploadResponse response;
    const auto stream = blob_calls_->Upload(context.get(), &response);
    stream->Write(request);
    stream->WritesDone();
    return FromGrpc(stream->Finish());
  };
  v1::UploadRequest request;
  request.set_sha256(Sha256("abc"));
  request.set_size_bytes(-1);
  EXPECT_EQ(FieldOf(send(request)), "size_bytes");
  request.set_size_bytes(2);
  request.set_data("abc");
  EXPECT_EQ(FieldOf(send(request)), "size_bytes");
  request.set_size_bytes(2 << 20);
  request.set_data(std::string((1 << 20) + 1, 'x'));
  EXPECT_EQ(FieldOf(send(request)), "data");
  request.set_data(std::string(5 << 20, 'x'));
  EXPECT_EQ(send(request).code(), StatusCode::kResourceExhausted);
  const auto context = AsAdmin();
  v1::UploadResponse response;
  const auto nothing = blob_calls_->Upload(context.get(), &response);
  nothing->WritesDone();
  EXPECT_EQ(FieldOf(FromGrpc(nothing->Finish())), "sha256");
}

TEST_F(BlobServiceTest, MissingOnesAreNamed) {
  const std::string there = PutDataset("there");
  const auto context = AsAdmin();
  v1::FindMissingRequest request;
  request.add_sha256(Sha256("absent"));
  request.add_sha256(there);
  v1::FindMissingResponse response;
  ASSERT_OK(FromGrpc(blob_calls_->FindMissing(context.get(), request, &response)));
  EXPECT_THAT(response.sha256(), ElementsAre(Sha256("absent")));
  for (int i = 0; i < 10'000; ++i) request.add_sha256(there);
  const auto again = AsAdmin();
  EXPECT_EQ(FieldOf(FromGrpc(blob_calls_->FindMissing(again.get(), request, &response))), "sha256");
}

TEST_F(BlobServiceTest, NothingButDatasetsAndRecordedCheckpointsIsShown) {
  const v1::Job job = Create(Request());
  ASSERT_OK(blobs_->Put("checkpoints/" + job.job_id() + "/step-00000100-a1/x", "secret"));
  ASSERT_OK(blobs_->Put("prepared/" + job.job_id() + "/tokens", "secret"));
  const std::string in_checkpoint = "checkpoints/" + job.job_id() + "/step-00000100-a1/x";
  const std::string in_prepared = "prepared/" + job.job_id() + "/tokens";
  const std::vector<std::string> keys = {"../../etc/passwd",
                                         "/etc/passwd",
                                         "",
                                         "datasets/../trainyard.db",
                                         "datasets/%2e%2e/x",
                                         "datasets/" + std::string(63, 'a'),
                                         in_checkpoint,
                                         "checkpoints/shakespeare/step-00000100-a1/x",
                                         in_prepared,
                                         "checkpoints",
                                         "checkpoints/"};
  for (const std::string& key : keys) {
    const auto downloaded = Download(key);
    EXPECT_FALSE(downloaded.ok()) << key;
    EXPECT_TRUE(downloaded.status().code() == StatusCode::kNotFound ||
                downloaded.status().code() == StatusCode::kInvalidArgument)
        << key << ": " << downloaded.status().ToString();
  }
}

}  // namespace
}  // namespace trainyard::coordinator
