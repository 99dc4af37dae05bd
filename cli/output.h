// Data on stdout in the form asked for; words go to stderr. No colour or animation off a terminal.
#pragma once

#include <google/protobuf/message.h>

#include <functional>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "common/status.h"
#include "trainyard/v1/job.pb.h"

namespace trainyard::cli {

enum class Format { kTable, kWide, kJson, kYaml, kName };

// Whether a program is to read it.
inline bool IsData(Format format) { return format == Format::kJson || format == Format::kYaml; }

// InvalidArgument naming the formats there are.
StatusOr<Format> ParseFormat(const std::string& name);

// Rows under a header, columns padded to the widest cell (by display width); no trailing spaces.
class Table {
 public:
  explicit Table(std::vector<std::string> header) : rows_{std::move(header)} {}
  void Add(std::vector<std::string> row) { rows_.push_back(std::move(row)); }
  std::string ToString() const;

 private:
  std::vector<std::vector<std::string>> rows_;
};

std::string ToJson(const google::protobuf::Message& message);
std::string ToYaml(const google::protobuf::Message& message);

// Prints `message` as JSON, YAML, or by `table` / `name` for the other forms.
void Print(Format format, const google::protobuf::Message& message,
           const std::function<std::string()>& table, const std::function<std::string()>& name);

// The same for what is not a proto message.
void PrintJson(Format format, const nlohmann::ordered_json& json,
               const std::function<std::string()>& table, const std::function<std::string()>& name);

bool StdoutIsTerminal();
bool StderrIsTerminal();
// ANSI styles are empty strings off a terminal or with NO_COLOR set.
std::string Bold(const std::string& text);
std::string Dim(const std::string& text);
// Green for success, red for failure, yellow for what is on its way.
std::string ColourState(const std::string& state);

// "loading: reading weights, 120 of 538 MB"; "-" for a rank that has not said anything.
std::string PhaseOf(const v1::Rank& rank);
// "3m 12s", "2h 05m", "now"; "-" for negative.
std::string FormatSeconds(double seconds);
// "1.2 GB"
std::string FormatBytes(double bytes);
// "12,345"
std::string FormatCount(double count);
// Eight levels of block characters for the values, newest right, resampled to `width`.
std::string Sparkline(const std::vector<double>& values, int width);

double SecondsSinceEpoch(const google::protobuf::Timestamp& time);
double NowSeconds();

}  // namespace trainyard::cli
