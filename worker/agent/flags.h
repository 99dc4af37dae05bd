// What the worker is started with.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

#include "common/status.h"
#include "common/wire/channel.h"

namespace trainyard::worker {

struct Flags {
  std::string id;           // unique in the cluster: 1 to 63 of [A-Za-z0-9._-]
  std::string coordinator;  // host:port
  std::filesystem::path token_file;
  std::filesystem::path home;     // journal, logs, rank folders; one daemon at a time
  std::filesystem::path blobs;    // the BlobStore's folder, which the coordinator uses too
  int32_t slots = 1;              // CPU shares
  bool gpus = true;               // offer the GPUs that NVML sees
  std::filesystem::path trainer;  // empty: trainyard-trainer beside this program
  std::string bind_address = "127.0.0.1";
  std::string http;  // empty: 127.0.0.1:7079 or the next free port
  std::filesystem::path scraper_token_file;
  TlsFiles tls;
  bool insecure_i_understand = false;
  bool drain = false;         // SIGTERM: stop with a checkpoint, then end
  bool kill_on_exit = false;  // SIGTERM: kill the trainers
  bool help = false;
};

// InvalidArgument with the flag that is unknown, missing or wrong, and the nearest name.
StatusOr<Flags> ParseFlags(const std::vector<std::string>& words);

// What --help prints.
std::string Usage();

}  // namespace trainyard::worker
