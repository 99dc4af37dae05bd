// Writes metric points as a TensorBoard events file (events.out.tfevents.*), without TensorFlow.
//
// A file is a sequence of records: u64 length, masked CRC-32C of those 8 bytes, data, masked
// CRC-32C of the data (tensorflow/core/lib/io/record_writer.cc); all little-endian. Data is an
// Event (tensorflow/core/util/event.proto): wall_time = 1 double, step = 2 int64, file_version = 3
// string, summary = 5 {value = 1 repeated {tag = 1 string, simple_value = 2 float}}.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

namespace trainyard {

class TensorBoardEvents {
 public:
  // Begins with the record that names the format. Seconds since 1970.
  explicit TensorBoardEvents(double wall_time);
  void Add(std::string_view tag, int64_t step, double value, double wall_time);
  // The bytes since the last Take, to be appended to the file.
  std::string Take();

 private:
  void AddRecord(std::string_view data);
  std::string bytes_;
};

// A file name that TensorBoard finds in a log folder.
std::string TensorBoardFileName(double wall_time, std::string_view source);

}  // namespace trainyard
