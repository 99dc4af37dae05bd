// The metadata of a GGUF file under its architecture's prefix: "llama.block_count" is
// "block_count".
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "common/status.h"
#include "worker/checkpoint/gguf_header.h"

namespace trainyard::worker {

class GgufFields {
 public:
  // `metadata` outlives this.
  GgufFields(const GgufMetadata& metadata, std::string architecture)
      : metadata_(metadata), architecture_(std::move(architecture)) {}

  const std::string& architecture() const { return architecture_; }
  std::string Whole(std::string_view key) const { return fmt::format("{}.{}", architecture_, key); }
  bool Has(std::string_view key) const { return metadata_.Has(Whole(key)); }
  const GgufValue* Find(std::string_view key) const { return metadata_.Find(Whole(key)); }

  // NotFound or InvalidArgument naming the whole key, here and below.
  StatusOr<int64_t> Int(std::string_view key) const { return metadata_.Integer(Whole(key)); }
  StatusOr<int64_t> Int(std::string_view key, int64_t otherwise) const {
    return Has(key) ? Int(key) : StatusOr<int64_t>(otherwise);
  }
  // A number, or a list of `layers` numbers that are all the same. Unimplemented where they differ.
  StatusOr<int64_t> IntOfLayers(std::string_view key, int64_t layers) const;
  // A float32 stands for the shortest decimal that rounds to it: 1e-05, not 9.999999747378752e-06.
  StatusOr<double> Real(std::string_view key) const;
  StatusOr<double> Real(std::string_view key, double otherwise) const {
    return Has(key) ? Real(key) : StatusOr<double>(otherwise);
  }
  StatusOr<bool> Bool(std::string_view key, bool otherwise) const {
    return Has(key) ? metadata_.Bool(Whole(key)) : StatusOr<bool>(otherwise);
  }
  StatusOr<std::string> Text(std::string_view key, std::string otherwise) const {
    return Has(key) ? metadata_.Text(Whole(key)) : StatusOr<std::string>(std::move(otherwise));
  }

 private:
  const GgufMetadata& metadata_;
  const std::string architecture_;
};

}  // namespace trainyard::worker
