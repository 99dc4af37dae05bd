// A copy of a model's masters and moments, for a writer that works while the model trains on.
#pragma once

#include <cstdint>
#include <cstdlib>
#include <memory>
#include <span>
#include <vector>

#include "common/status.h"
#include "worker/checkpoint/parameter_view.h"

namespace trainyard::worker {

class Snapshot {
 public:
  // Takes the memory for copies of `parameters`, 4 bytes per value (12 per trained parameter), and
  // keeps it. Every page is touched: where the kernel, or a virtual machine's host, must find them
  // first, that takes seconds. ResourceExhausted when there is not so much.
  Status Reserve(std::span<const ParameterView> parameters);

  // Copies the values of `parameters` on `threads` threads, the caller's among them. Reserves what
  // is not reserved; after its error nothing is copied.
  Status Take(std::span<const ParameterView> parameters, int threads);

  // As given to the last Take, over the copy.
  const std::vector<ParameterView>& parameters() const { return parameters_; }

 private:
  struct Free {
    void operator()(float* values) const { std::free(values); }
  };
  std::unique_ptr<float[], Free> values_;
  int64_t capacity_ = 0;  // values
  std::vector<ParameterView> parameters_;
};

}  // namespace trainyard::worker
