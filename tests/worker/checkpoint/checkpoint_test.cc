#include "worker/checkpoint/checkpoint.h"

#include <gmock/gmock.h>
#include <sched.h>
#include <sys/mount.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <fstream>
#include <functional>
#include <map>

#include "common/files.h"
#include "common/rng.h"
#include "tests/support/status_matchers.h"
#include "worker/checkpoint/float_formats.h"
#include "worker/checkpoint/snapshot.h"

namespace trainyard::worker {
namespace {

using testing::HasSubstr;

// A parameter with its storage, filled from a seed.
struct Tensor {
  Tensor(std::string name, std::vector<int64_t> shape, uint64_t seed) {
    view.name = std::move(name);
    view.shape = std::move(shape);
    view.count = 1;
    for (const int64_t dim : view.shape) view.count *= dim;
    const Rng rng{seed, Purpose::kInit};
    uint64_t step = 0;
    for (auto* values : {&master, &moment1, &moment2}) {
      for (int64_t i = 0; i < view.count; ++i)
        values->push_back(static_cast<float>(rng.Normal(step, static_cast<uint64_t>(i))));
      ++step;
    }
  }
  ParameterView View() {
    view.master = master.data();
    view.moment1 = moment1.data();
    view.moment2 = moment2.data();
    return view;
  }
  ParameterView view;
  std::vector<float> master, moment1, moment2;
};

struct Model {
  explicit Model(uint64_t seed) {
    tensors.emplace_back("model.embed_tokens.weight", std::vector<int64_t>{7, 4}, seed);
    tensors.emplace_back("model.norm.weight", std::vector<int64_t>{4}, seed + 1);
  }
  std::vector<ParameterView> Views() {
    std::vector<ParameterView> views;
    for (Tensor& tensor : tensors) views.push_back(tensor.View());
    return views;
  }
  std::vector<Tensor> tensors;
};

CheckpointContents Contents(Model& model, int64_t step = 400) {
  CheckpointContents contents;
  contents.state = {.job = "shakespeare-x7k2q",
                    .attempt = 1,
                    .step = step,
                    .update_count = step - 1,
                    .loader = {{"epoch", 2}, {"item", 77}},
                    .schedule = {{"step", step}},
                    .data_sha256 = Sha256("data"),
                    .tokenizer_sha256 = Sha256("tokenizer"),
                    .spec_sha256 = Sha256("spec")};
  contents.parameters = model.Views();
  contents.model_config = {{"model_type", "llama"}, {"vocab_size", 7}};
  contents.tokenizer = {
      .tokenizer_json = "{}", .bos = {}, .eos = {"<eos>", 0}, .pad = {}, .max_length = 16};
  contents.data_description = "plays | by one author";
  return contents;
}

class CheckpointTest : public testing::Test {
 protected:
  void SetUp() override {
    home_ = std::filesystem::path(testing::TempDir()) / ("checkpoint-" + RandomHex(6));
    folder_ = home_ / CheckpointFolderName(400, 1);
  }
  void TearDown() override { std::filesystem::remove_all(home_); }

  static void Flip(const std::filesystem::path& path, uint64_t bit) {
    std::fstream file(path, std::ios::in | std::ios::out | std::ios::binary);
    file.seekg(static_cast<std::streamoff>(bit / 8));
    const char old = static_cast<char>(file.get());
    file.seekp(static_cast<std::streamoff>(bit / 8));
    file.put(static_cast<char>(old ^ (1 << (bit % 8))));
    ASSERT_TRUE(file.good());
  }
  std::vector<std::string> Files() const {
    std::vector<std::string> files;
    for (const auto& entry : std::filesystem::recursive_directory_iterator(folder_))
      if (entry.is_regular_file())
        files.push_back(entry.path().lexically_relative(folder_).string());
    std::sort(files.begin(), files.end());
    return files;
  }
  // Of the error about this file.
  static auto Refused(const std::string& name) {
    return StatusIs(StatusCode::kDataLoss,
                    HasSubstr(name == CheckpointManifest::kPath ? "manifest" : name));
  }

  std::filesystem::path home_;
  std::filesystem::path folder_;
};

TEST_F(CheckpointTest, IsAHuggingFaceFolderWithOurStateBesideIt) {
  Model model(1);
  ASSERT_OK_AND_ASSIGN(const auto written, WriteCheckpoint(folder_, Contents(model)));
  EXPECT_THAT(Files(), testing::ElementsAre("README.md", "config.json", "generation_config.json",
                                            "model.safetensors", "tokenizer.json",
                                            "tokenizer_config.json", "trainyard/manifest.json",
                                            "trainyard/optimizer-policy.safetensors",
                                            "trainyard/state.json"));
  EXPECT_EQ(written.manifest_digest, *Sha256OfFile(folder_ / CheckpointManifest::kPath));
  ASSERT_OK_AND_ASSIGN(const auto manifest, VerifyCheckpoint(folder_, written.manifest_digest));
  EXPECT_EQ(manifest.job, "shakespeare-x7k2q");
  EXPECT_EQ(manifest.attempt, 1);
  EXPECT_EQ(manifest.step, 400);
  EXPECT_EQ(manifest.total_bytes(), written.total_bytes);
  EXPECT_THAT(*ReadFile(folder_ / "README.md"), HasSubstr("plays   by one author"));
  EXPECT_EQ(folder_.filename(), "step-00000400-a1");
  EXPECT_THAT(WriteCheckpoint(folder_, Contents(model)),
              StatusIs(StatusCode::kAlreadyExists, HasSubstr("step-00000400-a1")));
  EXPECT_OK(VerifyCheckpoint(folder_, written.manifest_digest));
}

TEST_F(CheckpointTest, GivesBackTheSameBitsAndState) {
  for (const WeightFormat format : {WeightFormat::kFloat32, WeightFormat::kBfloat16}) {
    Model model(1), other(2);
    CheckpointContents contents = Contents(model);
    contents.weight_format = format;
    ASSERT_OK_AND_ASSIGN(const auto written, WriteCheckpoint(folder_, contents));
    ASSERT_OK_AND_ASSIGN(const TrainingState state,
                         ReadCheckpoint(folder_, written.manifest_digest, "policy", other.Views()));
    for (size_t i = 0; i < model.tensors.size(); ++i) {
      EXPECT_EQ(other.tensors[i].master, model.tensors[i].master);
      EXPECT_EQ(other.tensors[i].moment1, model.tensors[i].moment1);
      EXPECT_EQ(other.tensors[i].moment2, model.tensors[i].moment2);
    }
    EXPECT_EQ(state.step, 400);
    EXPECT_EQ(state.update_count, 399);
    EXPECT_EQ(state.loader["item"], 77);
    EXPECT_EQ(state.schedule, contents.state.schedule);
    EXPECT_EQ(state.data_sha256, Sha256("data"));
    EXPECT_EQ(state.tokenizer_sha256, Sha256("tokenizer"));
    EXPECT_EQ(state.spec_sha256, Sha256("spec"));
    EXPECT_THAT(ReadCheckpoint(folder_, written.manifest_digest, "critic", other.Views()),
                StatusIs(StatusCode::kNotFound, HasSubstr("optimizer-critic")));
    std::filesystem::remove_all(folder_);
  }
}

TEST_F(CheckpointTest, WritesTheSameBytesForTheSameState) {
  Model model(1);
  ASSERT_OK_AND_ASSIGN(const auto first, WriteCheckpoint(folder_, Contents(model)));
  ASSERT_OK_AND_ASSIGN(const auto second, WriteCheckpoint(home_ / "again", Contents(model)));
  EXPECT_EQ(first.manifest_digest, second.manifest_digest);
}

TEST_F(CheckpointTest, ReadsWeightsAloneAndRoundedWhenTheyAreBfloat16) {
  Model model(1), other(2);
  CheckpointContents contents = Contents(model);
  contents.weight_format = WeightFormat::kBfloat16;
  ASSERT_OK(WriteCheckpoint(folder_, contents));
  const std::vector<float> moments = other.tensors[0].moment1;
  ASSERT_OK(ReadWeights(folder_, other.Views()));
  for (size_t i = 0; i < moments.size(); ++i)
    EXPECT_EQ(other.tensors[0].master[i],
              FloatFromBfloat16(Bfloat16FromFloat(model.tensors[0].master[i])));
  EXPECT_EQ(other.tensors[0].moment1, moments);
}

TEST_F(CheckpointTest, TellsHowFarItsReadingIsAndEndsWhereToldTo) {
  Model model(1), other(2);
  ASSERT_OK_AND_ASSIGN(const auto written, WriteCheckpoint(folder_, Contents(model)));
  std::vector<std::string> order;
  std::map<std::string, int64_t> done, total;
  const auto read = [&](const ReadProgress& progress) {
    return ReadCheckpoint(folder_, written.manifest_digest, "policy", other.Views(), progress)
        .status();
  };
  ASSERT_OK(read([&](std::string_view what, int64_t done_bytes, int64_t total_bytes) {
    const std::string name(what);
    if (!done.contains(name)) order.push_back(name);
    EXPECT_GT(done_bytes, done[name]);
    done[name] = done_bytes;
    total[name] = total_bytes;
    return OkStatus();
  }));
  EXPECT_EQ(order, (std::vector<std::string>{"checking the checkpoint", "reading weights",
                                             "reading the optimiser's state"}));
  EXPECT_EQ(done, total);
  EXPECT_EQ(total["checking the checkpoint"], written.total_bytes);
  for (const std::string& stage : order) {
    EXPECT_THAT(read([&](std::string_view what, int64_t, int64_t) {
                  return what == stage ? Cancelled("enough") : OkStatus();
                }),
                StatusIs(StatusCode::kCancelled, HasSubstr("enough")))
        << stage;
  }
}

TEST_F(CheckpointTest, NamesTheTensorThatDoesNotFit) {
  Model model(1);
  ASSERT_OK_AND_ASSIGN(const auto written, WriteCheckpoint(folder_, Contents(model)));
  const auto read = [&](Model& other) {
    return ReadCheckpoint(folder_, written.manifest_digest, "policy", other.Views());
  };
  const auto is_bad = [](const char* what) {
    return StatusIs(StatusCode::kInvalidArgument, HasSubstr(what));
  };
  Model more(2), fewer(2), wider(2);
  more.tensors.emplace_back("lm_head.weight", std::vector<int64_t>{7, 4}, 3);
  fewer.tensors.pop_back();
  wider.tensors[1].view.shape = {2, 2};
  EXPECT_THAT(read(more), is_bad("no tensor \"lm_head.weight\""));
  EXPECT_THAT(read(fewer), is_bad("\"model.norm.weight\" that the model has not"));
  EXPECT_THAT(read(wider), is_bad("shape [4], the model needs [2, 2]"));
}

TEST_F(CheckpointTest, RefusesAnyOfAThousandFlippedBits) {
  Model model(1);
  ASSERT_OK_AND_ASSIGN(const auto written, WriteCheckpoint(folder_, Contents(model)));
  const std::vector<std::string> files = Files();
  const Rng rng{7, Purpose::kSample};
  for (uint64_t i = 0; i < 1000; ++i) {
    const std::string& name = files[i % files.size()];
    const uint64_t bit = rng.Below(8 * std::filesystem::file_size(folder_ / name), 0, i);
    Flip(folder_ / name, bit);
    ASSERT_THAT(VerifyCheckpoint(folder_, written.manifest_digest), Refused(name))
        << name << " bit " << bit;
    Flip(folder_ / name, bit);
  }
  EXPECT_OK(VerifyCheckpoint(folder_, written.manifest_digest));
}

TEST_F(CheckpointTest, RefusesCutAndDeletedFilesByName) {
  Model model(1);
  ASSERT_OK_AND_ASSIGN(const auto written, WriteCheckpoint(folder_, Contents(model)));
  for (const std::string& name : Files()) {
    const std::string bytes = *ReadFile(folder_ / name);
    for (const std::string& changed : {std::string(), bytes.substr(0, bytes.size() / 2),
                                       bytes.substr(0, bytes.size() - 1), bytes + "x"}) {
      ASSERT_OK(WriteFileAtomically(folder_ / name, changed));
      EXPECT_THAT(VerifyCheckpoint(folder_, written.manifest_digest), Refused(name));
    }
    std::filesystem::remove(folder_ / name);
    Model other(2);
    EXPECT_THAT(ReadCheckpoint(folder_, written.manifest_digest, "policy", other.Views()),
                Refused(name));
    ASSERT_OK(WriteFileAtomically(folder_ / name, bytes));
  }
  EXPECT_OK(VerifyCheckpoint(folder_, written.manifest_digest));
}

TEST_F(CheckpointTest, RefusesFilesOfAnotherStep) {
  Model model(1), later(9);
  ASSERT_OK_AND_ASSIGN(const auto first, WriteCheckpoint(folder_, Contents(model)));
  const auto other = home_ / CheckpointFolderName(500, 1);
  ASSERT_OK_AND_ASSIGN(const auto second, WriteCheckpoint(other, Contents(later, 500)));
  EXPECT_THAT(VerifyCheckpoint(folder_, second.manifest_digest),
              StatusIs(StatusCode::kDataLoss, HasSubstr("recorded")));
  for (const char* name : {"model.safetensors", "trainyard/optimizer-policy.safetensors"}) {
    std::filesystem::rename(folder_ / name, home_ / "aside");
    std::filesystem::copy_file(other / name, folder_ / name);
    EXPECT_THAT(VerifyCheckpoint(folder_, first.manifest_digest), Refused(name));
    std::filesystem::rename(home_ / "aside", folder_ / name);
  }
  EXPECT_OK(VerifyCheckpoint(folder_, first.manifest_digest));
}

TEST_F(CheckpointTest, RefusesLinksAndFilesNobodyVouchedFor) {
  Model model(1);
  ASSERT_OK_AND_ASSIGN(const auto written, WriteCheckpoint(folder_, Contents(model)));
  std::filesystem::rename(folder_ / "model.safetensors", home_ / "aside");
  std::filesystem::create_symlink(home_ / "aside", folder_ / "model.safetensors");
  EXPECT_THAT(VerifyCheckpoint(folder_, written.manifest_digest),
              StatusIs(StatusCode::kDataLoss, HasSubstr("not a plain file")));
  std::filesystem::rename(home_ / "aside", folder_ / "model.safetensors");
  ASSERT_OK(WriteFileAtomically(folder_ / "pytorch_model.bin", "x"));
  EXPECT_THAT(VerifyCheckpoint(folder_, written.manifest_digest),
              StatusIs(StatusCode::kDataLoss, HasSubstr("pytorch_model.bin is not in")));
}

// Runs `body` in a process with a private tmpfs of 64 KiB at `folder`; its exit status.
int OnATinyDisk(const std::filesystem::path& folder, const std::function<int()>& body) {
  const pid_t child = ::fork();
  if (child == 0) {
    if (::unshare(CLONE_NEWNS) != 0 ||
        ::mount("none", "/", nullptr, MS_REC | MS_PRIVATE, nullptr) != 0 ||
        ::mount("tiny", folder.c_str(), "tmpfs", 0, "size=64k") != 0)
      ::_exit(77);
    ::_exit(body());
  }
  int status = 0;
  ::waitpid(child, &status, 0);
  return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

TEST_F(CheckpointTest, LeavesNothingBehindOnAFullDisk) {
  ASSERT_OK(MakeFolders(home_));
  const int result = OnATinyDisk(home_, [&] {
    Model small(1), large(1);
    large.tensors.emplace_back("wide", std::vector<int64_t>{100, 300}, 1);
    const auto earlier = WriteCheckpoint(home_ / "earlier", Contents(small));
    if (!earlier.ok()) return 1;
    const Status status = WriteCheckpoint(folder_, Contents(large)).status();
    if (status.code() != StatusCode::kResourceExhausted) return 2;
    if (MessageOf(status).find("model.safetensors") == std::string::npos) return 3;
    if (std::filesystem::exists(folder_)) return 4;
    return VerifyCheckpoint(home_ / "earlier", earlier->manifest_digest).ok() ? 0 : 5;
  });
  if (result == 77) GTEST_SKIP() << "needs the right to mount a tmpfs";
  EXPECT_EQ(result, 0);
}

TEST_F(CheckpointTest, ASnapshotKeepsTheBitsOfItsMoment) {
  Snapshot snapshot;
  const float* memory = nullptr;
  for (const int threads : {1, 2, 5}) {
    Model model(/*seed=*/3), same(/*seed=*/3);
    std::vector<ParameterView> views = model.Views();
    views[1].moment1 = views[1].moment2 = nullptr;  // no optimiser updates this one
    ASSERT_OK(snapshot.Take(views, threads));
    for (Tensor& tensor : model.tensors) {
      for (auto* values : {&tensor.master, &tensor.moment1, &tensor.moment2}) {
        std::fill(values->begin(), values->end(), -1.0F);
      }
    }
    const std::vector<ParameterView>& copies = snapshot.parameters();
    ASSERT_EQ(copies.size(), 2u);
    for (size_t i = 0; i < 2; ++i) {
      const Tensor& tensor = same.tensors[i];
      EXPECT_EQ(copies[i].name, tensor.view.name);
      EXPECT_EQ(copies[i].shape, tensor.view.shape);
      EXPECT_EQ(std::vector<float>(copies[i].master, copies[i].master + copies[i].count),
                tensor.master);
    }
    EXPECT_EQ(std::vector<float>(copies[0].moment2, copies[0].moment2 + 28),
              same.tensors[0].moment2);
    EXPECT_EQ(copies[1].moment1, nullptr);
    EXPECT_EQ(copies[1].moment2, nullptr);
    if (memory == nullptr) memory = copies[0].master;
    EXPECT_EQ(copies[0].master, memory);  // taken once
  }
}

TEST_F(CheckpointTest, AnErrorAfterAnyPieceEndsTheWritingAndLeavesNothing) {
  Model model(1);
  int pieces = 0, pieces_max = 1;
  const PieceWritten stop = [&]() -> Status {
    return ++pieces == pieces_max ? Cancelled("enough") : OkStatus();
  };
  const std::filesystem::path folder = home_ / "given-up";
  while (true) {
    pieces = 0;
    const auto written = WriteCheckpoint(folder, Contents(model), stop);
    if (written.ok()) break;
    EXPECT_THAT(written, StatusIs(StatusCode::kCancelled, HasSubstr("enough")));
    EXPECT_EQ(pieces, pieces_max);
    EXPECT_FALSE(std::filesystem::exists(folder));
    ++pieces_max;
  }
  EXPECT_GT(pieces_max, 8);  // one for each file at least
}

TEST(Manifest, RefusesPathsThatLeaveTheFolder) {
  const auto folder = std::filesystem::path(testing::TempDir()) / ("manifest-" + RandomHex(6));
  ASSERT_OK(MakeFolders(folder / "trainyard"));
  for (const char* path : {"../x", "/etc/passwd", "a/../../b", "", "trainyard/manifest.json"}) {
    const CheckpointManifest manifest{"j", 1, 1, {{path, Sha256(""), 0}}};
    ASSERT_OK_AND_ASSIGN(const std::string digest, WriteManifest(folder, manifest));
    EXPECT_THAT(ReadManifest(folder, digest),
                StatusIs(StatusCode::kDataLoss, HasSubstr("not a path")));
  }
  const CheckpointManifest twice{"j", 1, 1, {{"a", Sha256(""), 0}, {"a", Sha256(""), 0}}};
  ASSERT_OK_AND_ASSIGN(const std::string digest, WriteManifest(folder, twice));
  EXPECT_THAT(ReadManifest(folder, digest), StatusIs(StatusCode::kDataLoss, HasSubstr("twice")));
  std::filesystem::remove_all(folder);
}

}  // namespace
}  // namespace trainyard::worker
