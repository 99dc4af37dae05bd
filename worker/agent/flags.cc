#include "worker/agent/flags.h"

#include <arpa/inet.h>

#include <algorithm>
#include <charconv>
#include <functional>

#include "worker/agent/rank_key.h"

namespace trainyard::worker {
namespace {

struct Flag {
  std::string name;   // "--id"
  std::string value;  // "NAME"; empty: it takes none
  std::string help;
  std::function<Status(const std::string& value, Flags& flags)> set;
};

Flag Path(std::string name, std::string value, std::string help,
          std::function<std::filesystem::path&(Flags&)> field) {
  return {std::move(name), std::move(value), std::move(help),
          [field](const std::string& text, Flags& flags) {
            field(flags) = text;
            return OkStatus();
          }};
}

Flag Text(std::string name, std::string value, std::string help, std::string Flags::*field) {
  return {std::move(name), std::move(value), std::move(help),
          [field](const std::string& text, Flags& flags) {
            flags.*field = text;
            return OkStatus();
          }};
}

Flag Switch(std::string name, std::string help, bool Flags::*field, bool to = true) {
  return {std::move(name), "", std::move(help), [field, to](const std::string&, Flags& flags) {
            flags.*field = to;
            return OkStatus();
          }};
}

Status SetSlots(const std::string& text, Flags& flags) {
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), flags.slots);
  if (error != std::errc() || end != text.data() + text.size() || flags.slots < 0 ||
      flags.slots > 1024)
    return InvalidArgument("--slots: '{}' is not a number from 0 to 1024", text);
  return OkStatus();
}

const std::vector<Flag>& AllFlags() {
  static const std::vector<Flag> flags = {
      Text("--id", "NAME", "this worker's name, unique in the cluster (required)", &Flags::id),
      Text("--coordinator", "HOST:PORT", "where the coordinator listens (required)",
           &Flags::coordinator),
      Path(
          "--token-file", "FILE", "the worker join token (required)",
          [](Flags & f) -> auto& { return f.token_file; }),
      Path(
          "--home", "DIR", "journal, logs and rank folders of this worker (required)",
          [](Flags & f) -> auto& { return f.home; }),
      Path(
          "--blobs", "DIR", "the BlobStore's folder, the coordinator's own (required)",
          [](Flags & f) -> auto& { return f.blobs; }),
      {"--slots", "N", "CPU shares to offer (default 1)", SetSlots},
      Switch("--no-gpus", "do not offer this host's GPUs", &Flags::gpus, false),
      Path(
          "--trainer", "FILE", "the trainer program (default: beside this one)",
          [](Flags & f) -> auto& { return f.trainer; }),
      Text("--bind-address", "IP",
           "where ranks listen and other hosts' ranks reach them (default 127.0.0.1)",
           &Flags::bind_address),
      Text("--http", "HOST:PORT", "/metrics and /healthz (default 127.0.0.1:7079 or next free)",
           &Flags::http),
      Path(
          "--scraper-token-file", "FILE", "the token that may read /metrics",
          [](Flags & f) -> auto& { return f.scraper_token_file; }),
      Path(
          "--tls-ca", "FILE", "who vouches for the coordinator (PEM)",
          [](Flags & f) -> auto& { return f.tls.ca; }),
      Path(
          "--tls-cert", "FILE", "this worker's certificate (PEM), for mTLS",
          [](Flags & f) -> auto& { return f.tls.cert; }),
      Path(
          "--tls-key", "FILE", "its key (PEM)", [](Flags & f) -> auto& { return f.tls.key; }),
      Switch("--insecure-i-understand", "plain text beyond loopback",
             &Flags::insecure_i_understand),
      Switch("--drain", "SIGTERM: ranks write a checkpoint and stop; again: at once",
             &Flags::drain),
      Switch("--kill-on-exit", "SIGTERM: ranks are killed (default: they live on, to be adopted)",
             &Flags::kill_on_exit),
      Switch("--help", "this text", &Flags::help),
  };
  return flags;
}

// Levenshtein distance, for suggestions.
size_t Distance(const std::string& a, const std::string& b) {
  std::vector<size_t> row(b.size() + 1);
  for (size_t j = 0; j <= b.size(); ++j) row[j] = j;
  for (size_t i = 1; i <= a.size(); ++i) {
    size_t diagonal = std::exchange(row[0], i);
    for (size_t j = 1; j <= b.size(); ++j) {
      const size_t replaced = diagonal + (a[i - 1] == b[j - 1] ? 0 : 1);
      diagonal = row[j];
      row[j] = std::min({replaced, row[j] + 1, row[j - 1] + 1});
    }
  }
  return row[b.size()];
}

Status UnknownFlag(const std::string& name) {
  const auto nearest =
      std::min_element(AllFlags().begin(), AllFlags().end(), [&](const Flag& a, const Flag& b) {
        return Distance(name, a.name) < Distance(name, b.name);
      });
  if (Distance(name, nearest->name) <= 3)
    return InvalidArgument("{}: no such flag; did you mean {}?", name, nearest->name);
  return InvalidArgument("{}: no such flag; --help lists them", name);
}

// Ranks bind this very address and tell it to their peers.
Status CheckBindAddress(const std::string& text) {
  in_addr v4{};
  in6_addr v6{};
  const bool is_v4 = ::inet_pton(AF_INET, text.c_str(), &v4) == 1;
  const bool is_v6 = !is_v4 && ::inet_pton(AF_INET6, text.c_str(), &v6) == 1;
  if (!is_v4 && !is_v6)
    return InvalidArgument("--bind-address: '{}' is not a numeric IPv4 or IPv6 address", text);
  if (is_v4 ? v4.s_addr == INADDR_ANY : IN6_IS_ADDR_UNSPECIFIED(&v6))
    return InvalidArgument(
        "--bind-address: '{}' is no address that other hosts could reach; name one of this host's",
        text);
  return OkStatus();
}

Status CheckAll(const Flags& flags) {
  const std::pair<const char*, bool> required[] = {{"--id", flags.id.empty()},
                                                   {"--coordinator", flags.coordinator.empty()},
                                                   {"--token-file", flags.token_file.empty()},
                                                   {"--home", flags.home.empty()},
                                                   {"--blobs", flags.blobs.empty()}};
  for (const auto& [name, missing] : required)
    if (missing) return InvalidArgument("{} is missing; --help shows what it is", name);
  if (flags.id.size() > 63 || !IsSafeJobId(flags.id))
    return InvalidArgument("--id: '{}' is not 1 to 63 of A-Z a-z 0-9 . _ -", flags.id);
  RETURN_IF_ERROR(CheckBindAddress(flags.bind_address));
  if (flags.drain && flags.kill_on_exit)
    return InvalidArgument("--drain and --kill-on-exit exclude each other");
  return OkStatus();
}

}  // namespace

StatusOr<Flags> ParseFlags(const std::vector<std::string>& words) {
  Flags flags;
  for (size_t i = 0; i < words.size(); ++i) {
    const size_t equals = words[i].find('=');
    const std::string name = words[i].substr(0, equals);
    const auto flag = std::find_if(AllFlags().begin(), AllFlags().end(),
                                   [&](const Flag& f) { return f.name == name; });
    if (flag == AllFlags().end()) return UnknownFlag(name);
    std::string value;
    if (flag->value.empty()) {
      if (equals != std::string::npos) return InvalidArgument("{} takes no value", name);
    } else if (equals != std::string::npos) {
      value = words[i].substr(equals + 1);
    } else if (i + 1 < words.size()) {
      value = words[++i];
    } else {
      return InvalidArgument("{} needs a value: {} {}", name, name, flag->value);
    }
    RETURN_IF_ERROR(flag->set(value, flags));
  }
  if (!flags.help) RETURN_IF_ERROR(CheckAll(flags));
  return flags;
}

std::string Usage() {
  std::string text =
      "trainyard-worker --id worker-0 --coordinator 127.0.0.1:7077 --token-file tokens/worker \\\n"
      "    --home ~/.trainyard/worker/worker-0 --blobs ~/.trainyard/blobs --slots 2\n\n"
      "The daemon of one host: runs the ranks that the coordinator wants here.\n\n";
  for (const Flag& flag : AllFlags())
    text += fmt::format("  {:<34} {}\n", flag.name + " " + flag.value, flag.help);
  text +=
      "\nExit codes: 0 ended as asked, 1 this host failed it, 2 usage, 4 refused by the "
      "coordinator.\n";
  return text;
}

}  // namespace trainyard::worker
