// checkpoint list, describe, verify, export; and one on this machine for the tools.
#include <cstdio>
#include <fstream>

#include "cli/commands.h"
#include "cli/exit_code.h"
#include "common/files.h"
#include "common/job_spec/local_model.h"
#include "common/user_file.h"

namespace trainyard::cli {
namespace {

StatusOr<v1::GetCheckpointResponse> Fetch(Client& client, const std::string& ref) {
  v1::GetCheckpointRequest request;
  request.set_name(CheckpointNameOfRef(ref));
  return client.Call(client.checkpoints(), &v1::CheckpointService::Stub::GetCheckpoint, request);
}

std::string FormatTime(const google::protobuf::Timestamp& time) {
  return FormatSeconds(NowSeconds() - SecondsSinceEpoch(time)) + " ago";
}

// Paths come from a manifest that a trainer wrote: only plain relative ones are followed.
bool IsPlainRelative(const std::filesystem::path& path) {
  if (path.empty() || path.is_absolute()) return false;
  for (const auto& part : path)
    if (part == ".." || part == ".") return false;
  return true;
}

Status DownloadFile(Client& client, const std::string& key, const v1::CheckpointFile& file,
                    const std::filesystem::path& to) {
  RETURN_IF_ERROR(MakeFolders(to.parent_path()));
  grpc::ClientContext context;
  client.Prepare(context, /*seconds=*/3600);
  v1::DownloadRequest request;
  request.set_key(key + "/" + file.path());
  const auto reader = client.blobs().Download(&context, request);
  std::ofstream out(to, std::ios::binary | std::ios::trunc);
  Sha256Stream digest;
  v1::DownloadResponse response;
  while (reader->Read(&response)) {
    out.write(response.data().data(), static_cast<std::streamsize>(response.data().size()));
    digest.Add(response.data());
  }
  if (const grpc::Status status = reader->Finish(); !status.ok()) return client.Explain(status);
  out.close();
  if (!out.good()) return ResourceExhausted("cannot write {} (is the disk full?)", to.string());
  if (digest.Finish() != file.sha256())
    return DataLoss(
        "{} arrived with another digest than recorded; try again, then "
        "`trainyard checkpoint verify`",
        file.path());
  return OkStatus();
}

Status Download(Client& client, const v1::GetCheckpointResponse& checkpoint,
                const std::filesystem::path& folder) {
  for (const v1::CheckpointFile& file : checkpoint.files()) {
    if (!IsPlainRelative(file.path()))
      return DataLoss("the manifest names {}, which is not a plain relative path", file.path());
    RETURN_IF_ERROR(
        DownloadFile(client, checkpoint.checkpoint().key(), file, folder / file.path()));
  }
  return OkStatus();
}

// The class of transformers that loads the folder with its head.
std::string_view AutoClassOf(const std::filesystem::path& folder) {
  const auto text = ReadFile(folder / "config.json", 1 << 20);
  const bool masked = text.ok() && text->find("ForMaskedLM\"") != std::string::npos;
  return masked ? "AutoModelForMaskedLM" : "AutoModelForCausalLM";
}

template <class Use>
int WithCheckpoint(const Place& place, const std::string& ref, Use use) {
  auto client = Client::Connect(place);
  if (!client.ok()) return Fail(client.status());
  const auto checkpoint = Fetch(**client, ref);
  if (!checkpoint.ok()) return Fail(checkpoint.status());
  return use(**client, *checkpoint);
}

}  // namespace

int CheckpointList(const Place& place, const std::string& job, Format format) {
  auto client = Client::Connect(place);
  if (!client.ok()) return Fail(client.status());
  v1::ListCheckpointsRequest request;
  request.set_parent(NameOfRef(job));
  const auto response = (*client)->Call((*client)->checkpoints(),
                                        &v1::CheckpointService::Stub::ListCheckpoints, request);
  if (!response.ok()) return Fail(response.status());
  Print(
      format, *response,
      [&] {
        Table table({"STEP", "ATTEMPT", "SIZE", "RECORDED", "KEY"});
        for (const v1::Checkpoint& c : response->checkpoints())
          table.Add({std::to_string(c.step()), std::to_string(c.attempt()),
                     FormatBytes(double(c.size_bytes())), FormatTime(c.create_time()),
                     c.key() + (c.removed_by_hand() ? " (removed by hand)" : "")});
        return table.ToString();
      },
      [&] {
        std::string names;
        for (const v1::Checkpoint& c : response->checkpoints())
          names += fmt::format("{}\n", c.step());
        return names;
      });
  return kOk;
}

int CheckpointDescribe(const Place& place, const std::string& ref, Format format) {
  return WithCheckpoint(place, ref, [&](Client&, const v1::GetCheckpointResponse& found) {
    const v1::Checkpoint& c = found.checkpoint();
    Print(
        format, found,
        [&] {
          std::string text = fmt::format(
              "Checkpoint  {} step {} (attempt {})\nRecorded    {}\nKey         {}\nManifest    "
              "{}\n\n",
              c.job_id(), c.step(), c.attempt(), FormatTime(c.create_time()), c.key(),
              c.manifest_digest());
          Table table({"FILE", "SIZE", "SHA-256"});
          for (const v1::CheckpointFile& file : found.files())
            table.Add({file.path(), FormatBytes(double(file.size_bytes())), file.sha256()});
          return text + table.ToString();
        },
        [&] { return c.name() + "\n"; });
    return static_cast<int>(kOk);
  });
}

int CheckpointVerify(const Place& place, const std::string& ref, Format format) {
  auto client = Client::Connect(place);
  if (!client.ok()) return Fail(client.status());
  v1::VerifyCheckpointRequest request;
  request.set_name(CheckpointNameOfRef(ref));
  const auto response =
      (*client)->Call((*client)->checkpoints(), &v1::CheckpointService::Stub::VerifyCheckpoint,
                      request, /*seconds=*/3600);
  if (!response.ok()) return Fail(response.status());
  Print(
      format, *response,
      [&] {
        std::string text = response->intact() ? "intact\n" : "damaged\n";
        for (const std::string& problem : response->problems()) text += "  " + problem + "\n";
        return text;
      },
      [&] { return std::string(response->intact() ? "intact\n" : "damaged\n"); });
  return response->intact() ? kOk : kJobFailed;
}

int CheckpointExport(const Place& place, const std::string& ref, const std::string& folder) {
  return WithCheckpoint(place, ref, [&](Client& client, const v1::GetCheckpointResponse& found) {
    std::error_code error;
    const bool empty_folder =
        std::filesystem::is_directory(folder, error) && std::filesystem::is_empty(folder, error);
    if (IsTaken(folder) && !empty_folder)
      return Fail(AlreadyExists("{} exists and is no empty folder; choose another", folder));
    // It is the user's: others may read it as far as the umask lets them
    std::filesystem::create_directories(folder, error);
    if (error)
      return Fail(ErrnoStatus(error.value(), fmt::format("cannot make folder {}", folder)));
    if (const Status status = Download(client, found, folder); !status.ok()) return Fail(status);
    std::printf("%s\n", std::filesystem::absolute(folder).c_str());
    std::fprintf(stderr, "step %ld of %s; load it with transformers' %s.from_pretrained(\"%s\")\n",
                 static_cast<long>(found.checkpoint().step()), found.checkpoint().job_id().c_str(),
                 std::string(AutoClassOf(folder)).c_str(), folder.c_str());
    return static_cast<int>(kOk);
  });
}

void SayIfAlsoJob(Client& client, const std::string& ref) {
  std::error_code ignored;
  if (!MayNameJob(ref) || !std::filesystem::exists(ref, ignored)) return;
  v1::GetJobRequest request;
  request.set_name(NameOfRef(ref.substr(0, ref.find('@'))));
  if (client.Call(client.jobs(), &v1::JobService::Stub::GetJob, request, /*seconds=*/2).ok())
    std::fprintf(stderr, "note: %s is read as the file or folder here; the job is job:%s\n",
                 ref.c_str(), ref.c_str());
}

StatusOr<std::filesystem::path> CheckpointFolder(const Place& place, const std::string& name) {
  const std::string ref = WithJobPrefix(name);
  if (!NamesCheckpoint(ref)) {
    std::error_code ignored;
    if (!std::filesystem::exists(ref, ignored)) return FindModelFiles(ref).status();
    if (MayNameJob(ref)) {
      const auto client = Client::Connect(place);  // without one there are no jobs
      if (client.ok()) SayIfAlsoJob(**client, ref);
    }
    if (ref.ends_with(".gguf")) return std::filesystem::path(ref);
    if (!std::filesystem::exists(std::filesystem::path(ref) / "config.json", ignored))
      return NotFound(
          "{} holds no config.json; name a Hugging Face folder, a .gguf file, "
          "or job:NAME@latest",
          ref);
    return std::filesystem::path(ref);
  }
  const auto missing = [&](const Status& status) {
    if (ref == name) return status;
    return Annotate(status, fmt::format("{} is no file or folder here, and as a job", name));
  };
  const auto connected = Client::Connect(place);
  if (!connected.ok()) return missing(connected.status());
  Client* const client = connected->get();
  const auto fetched = Fetch(*client, ref);
  if (!fetched.ok()) return missing(fetched.status());
  const v1::GetCheckpointResponse& found = *fetched;
  const std::filesystem::path in_place = place.home / "blobs" / found.checkpoint().key();
  const auto manifest = Sha256OfFile(in_place / "trainyard" / "manifest.json");
  if (manifest.ok() && *manifest == found.checkpoint().manifest_digest()) return in_place;
  const std::filesystem::path cached = place.home / "cache" / found.checkpoint().manifest_digest();
  if (!std::filesystem::exists(cached)) {
    const std::filesystem::path partial = cached.string() + ".part-" + RandomHex(4);
    std::error_code error;
    if (const Status status = Download(*client, found, partial); !status.ok()) {
      std::filesystem::remove_all(partial, error);
      return status;
    }
    std::filesystem::rename(partial, cached, error);
    if (error && !std::filesystem::exists(cached))
      return Internal("cannot rename {}: {}", partial.string(), error.message());
  }
  return cached;
}

}  // namespace trainyard::cli
