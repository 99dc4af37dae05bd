#include "common/blob_store.h"

#include <gmock/gmock.h>

#include <filesystem>

#include "tests/support/status_matchers.h"

namespace trainyard {
namespace {

using testing::ElementsAre;
using testing::Field;
using testing::HasSubstr;

class DirectoryBlobStoreTest : public testing::Test {
 protected:
  void SetUp() override {
    root_ = std::filesystem::path(testing::TempDir()) / ("blobs-" + RandomHex(6));
    ASSERT_OK_AND_ASSIGN(store_, DirectoryBlobStore::Open(root_));
  }
  void TearDown() override { std::filesystem::remove_all(root_); }
  int64_t SideFiles() const {
    return std::distance(std::filesystem::directory_iterator(root_ / ".side"), {});
  }

  std::filesystem::path root_;
  std::unique_ptr<BlobStore> store_;
};

TEST(BlobKey, AllowsPlainRelativePathsOnly) {
  for (const char* good :
       {"a", "datasets/0f", "checkpoints/j-1/step-00000400-a1/model.safetensors"})
    EXPECT_OK(CheckBlobKey(good)) << good;
  for (const char* bad : {"", "/a", "a/", "a//b", "..", "a/../b", ".", ".side/x", "a/.b", "a b",
                          "a\nb", "caf\xc3\xa9", "a\\b", "~"})
    EXPECT_THAT(CheckBlobKey(bad), StatusIs(StatusCode::kInvalidArgument, HasSubstr("key"))) << bad;
  EXPECT_FALSE(CheckBlobKey(std::string_view("a\0b", 3)).ok());
  EXPECT_OK(CheckBlobKey(std::string(200, 'x')));
  EXPECT_FALSE(CheckBlobKey(std::string(201, 'x')).ok());
}

TEST_F(DirectoryBlobStoreTest, GivesBackWhatWasPut) {
  ASSERT_OK(store_->Put("datasets/a", "first"));
  ASSERT_OK(store_->Put("datasets/a", "second"));
  EXPECT_EQ(*store_->ReadAll("datasets/a"), "second");
  EXPECT_EQ(*store_->Size("datasets/a"), 6);
  EXPECT_EQ(*store_->Read("datasets/a", 2, 3), "con");
  EXPECT_EQ(*store_->Read("datasets/a", 4, 100), "nd");
  EXPECT_EQ(*store_->Read("datasets/a", 100, 1), "");
  EXPECT_TRUE(*store_->Exists("datasets/a"));
  EXPECT_FALSE(*store_->Exists("datasets/b"));
  EXPECT_FALSE(*store_->Exists("datasets"));
  EXPECT_THAT(store_->ReadAll("nowhere/b"), StatusIs(StatusCode::kNotFound, HasSubstr("nowhere")));
  EXPECT_THAT(store_->ReadAll("datasets/a", 3),
              StatusIs(StatusCode::kInvalidArgument, HasSubstr("6 bytes")));
  EXPECT_THAT(
      store_->Read("datasets/a", -1, 1),
      StatusIs(StatusCode::kInvalidArgument, "cannot read 1 bytes at -1 of blob datasets/a"));
  EXPECT_EQ(SideFiles(), 0);
}

TEST_F(DirectoryBlobStoreTest, ListsAndDeletesByFolder) {
  for (const char* key : {"c/j/2/b", "c/j/2/a", "c/j/1/a", "c/jx/a"})
    ASSERT_OK(store_->Put(key, "1"));
  EXPECT_THAT(*store_->List("c/j"),
              ElementsAre(Field(&BlobEntry::key, "c/j/1/a"), Field(&BlobEntry::key, "c/j/2/a"),
                          Field(&BlobEntry::key, "c/j/2/b")));
  // A writer that was killed before its first blob leaves a folder without any.
  ASSERT_OK_AND_ASSIGN(const auto torn, store_->LocalPath("c/j/torn"));
  ASSERT_OK(MakeFolders(*torn));
  EXPECT_THAT(*store_->Folders("c/j"), testing::Contains("c/j/torn"));
  EXPECT_THAT(*store_->Folders("c"), testing::Contains("c/j"));
  EXPECT_THAT(*store_->Folders("nothing"), testing::IsEmpty());
  ASSERT_OK(store_->DeletePrefix("c/j/torn"));
  EXPECT_FALSE(std::filesystem::exists(*torn));
  ASSERT_OK(store_->DeletePrefix("c/j"));
  EXPECT_THAT(*store_->List(""), ElementsAre(Field(&BlobEntry::key, "c/jx/a")));
  EXPECT_OK(store_->DeletePrefix("c/j"));
  EXPECT_FALSE(store_->DeletePrefix("").ok());
  ASSERT_OK(store_->Delete("c/jx/a"));
  EXPECT_OK(store_->Delete("c/jx/a"));
  EXPECT_THAT(*store_->List(""), ElementsAre());
  EXPECT_EQ(SideFiles(), 0);
}

TEST_F(DirectoryBlobStoreTest, ResumesAnUploadAtTheByteItReached) {
  const std::string text = "the whole text";
  EXPECT_EQ(*store_->UploadedBytes("d/x"), 0);
  ASSERT_OK(store_->AppendUpload("d/x", 0, "the "));
  EXPECT_EQ(*store_->UploadedBytes("d/x"), 4);
  EXPECT_THAT(store_->AppendUpload("d/x", 0, "the "),
              StatusIs(StatusCode::kFailedPrecondition, HasSubstr("stands at byte 4")));
  EXPECT_THAT(store_->FinishUpload("d/x", Sha256(text), 14),
              StatusIs(StatusCode::kFailedPrecondition, HasSubstr("byte 4 of 14")));
  EXPECT_FALSE(*store_->Exists("d/x"));
  // Another process continues.
  ASSERT_OK_AND_ASSIGN(const auto other, DirectoryBlobStore::Open(root_));
  ASSERT_OK(other->AppendUpload("d/x", 4, "whole text"));
  ASSERT_OK(other->FinishUpload("d/x", Sha256(text), 14));
  EXPECT_EQ(*store_->ReadAll("d/x"), text);
  EXPECT_OK(store_->FinishUpload("d/x", Sha256(text), 14));  // the reply was lost
  EXPECT_EQ(SideFiles(), 0);
}

TEST_F(DirectoryBlobStoreTest, RefusesAnUploadWithTheWrongDigestAndDropsIt) {
  ASSERT_OK(store_->AppendUpload("d/x", 0, "tampered"));
  EXPECT_THAT(store_->FinishUpload("d/x", Sha256("original"), 8),
              StatusIs(StatusCode::kDataLoss, HasSubstr(Sha256("original"))));
  EXPECT_FALSE(*store_->Exists("d/x"));
  EXPECT_EQ(*store_->UploadedBytes("d/x"), 0);
  ASSERT_OK(store_->FinishUpload("d/empty", Sha256(""), 0));
  EXPECT_EQ(*store_->Size("d/empty"), 0);
}

TEST_F(DirectoryBlobStoreTest, SweepsOnlyUploadsThatNobodyTouchedSince) {
  ASSERT_OK(store_->AppendUpload("d/old", 0, "abc"));
  EXPECT_EQ(*store_->SweepUploads(absl::Now() - absl::Hours(1)), 0);
  EXPECT_EQ(*store_->UploadedBytes("d/old"), 3);
  EXPECT_EQ(*store_->SweepUploads(absl::Now() + absl::Hours(1)), 1);
  EXPECT_EQ(*store_->UploadedBytes("d/old"), 0);
}

TEST_F(DirectoryBlobStoreTest, SweepsADeletionThatACrashCutShortAtOnce) {
  ASSERT_OK(MakeFolders(root_ / ".side" / "deleted-0123456789abcdef" / "trainyard"));
  EXPECT_EQ(*store_->SweepUploads(absl::Now() - absl::Hours(1)), 1);
  EXPECT_EQ(SideFiles(), 0);
}

TEST_F(DirectoryBlobStoreTest, LinksABlobThatOutlivesTheOther) {
  ASSERT_OK(store_->Put("a/model", "weights"));
  ASSERT_OK(store_->Link("a/model", "b/copy"));
  ASSERT_OK(store_->Link("a/model", "b/copy"));  // again: nothing new
  EXPECT_EQ(*store_->ReadAll("b/copy"), "weights");
  ASSERT_OK(store_->Put("a/model", "others"));
  EXPECT_EQ(*store_->ReadAll("b/copy"), "weights");
  ASSERT_OK(store_->Link("a/model", "b/copy"));  // replaces
  ASSERT_OK(store_->DeletePrefix("a"));
  EXPECT_EQ(*store_->ReadAll("b/copy"), "others");
  EXPECT_EQ(SideFiles(), 0);
  EXPECT_EQ(store_->Link("a/model", "b/none").code(), StatusCode::kNotFound);
  EXPECT_FALSE(*store_->Exists("b/none"));
  EXPECT_EQ(store_->Link("b/copy", "../c").code(), StatusCode::kInvalidArgument);
}

TEST_F(DirectoryBlobStoreTest, NeverFollowsASymbolicLinkOutOfTheRoot) {
  const auto outside = root_.string() + "-outside";
  ASSERT_OK(MakeFolders(outside));
  ASSERT_OK(WriteFileAtomically(std::filesystem::path(outside) / "secret", "s"));
  std::filesystem::create_directory_symlink(outside, root_ / "link");
  std::filesystem::create_symlink(std::filesystem::path(outside) / "secret", root_ / "file");
  EXPECT_EQ(store_->ReadAll("link/secret").status().code(), StatusCode::kNotFound);
  EXPECT_EQ(store_->ReadAll("file").status().code(), StatusCode::kNotFound);
  EXPECT_EQ(store_->Link("file", "linked").code(), StatusCode::kNotFound);
  EXPECT_FALSE(store_->Put("link/new", "x").ok());
  ASSERT_OK(store_->Put("file", "x"));  // replaces the link, not what it points at
  EXPECT_EQ(*ReadFile(std::filesystem::path(outside) / "secret"), "s");
  EXPECT_THAT(*store_->List("link"), ElementsAre());
  ASSERT_OK(store_->DeletePrefix("link"));
  EXPECT_TRUE(std::filesystem::exists(std::filesystem::path(outside) / "secret"));
  std::filesystem::remove_all(outside);
}

TEST_F(DirectoryBlobStoreTest, SaysWhereABlobLiesOnDisk) {
  ASSERT_OK(store_->Put("c/a", "1"));
  EXPECT_EQ(*ReadFile(**store_->LocalPath("c/a")), "1");
  EXPECT_FALSE(store_->LocalPath("../a").ok());
}

}  // namespace
}  // namespace trainyard
