// Time of each operation of a training step beside its floor, both of one run: the larger of its
// bytes (every input and output once) over the rate of a copy of that many bytes, and its
// multiplications over the rate of a large matrix product. Residual additions, data, the
// all-reduce and the optimiser are not here.
//   bench_step_profile [--shape quickstart|llama-15m|gpt2] [--type float32|bfloat16] [--threads N]
#include <ATen/Parallel.h>
#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <chrono>
#include <cstdio>
#include <functional>
#include <map>
#include <numeric>

#include "common/model/rope_config.h"
#include "worker/ops/activation.h"
#include "worker/ops/attention.h"
#include "worker/ops/embedding.h"
#include "worker/ops/head.h"
#include "worker/ops/linear.h"
#include "worker/ops/norm.h"
#include "worker/ops/rope.h"

namespace trainyard::worker {
namespace {

constexpr double kMeasureSeconds = 0.25;  // per operation, at least
constexpr int kTimesMin = 7;

struct Shape {
  bool is_llama = true;
  int64_t layers = 0, width = 0, heads = 0, inner = 0, vocab = 0;
  int64_t rows = 0, length = 0;  // of a micro-batch
  int threads = 2;               // that a rank has
  int64_t tokens() const { return rows * length; }
};

// quickstart: what one of the two ranks of examples/jobs/shakespeare.yaml computes.
const std::map<std::string, Shape>& Shapes() {
  static const std::map<std::string, Shape> shapes = {
      {"quickstart", {true, 4, 128, 4, 352, 4096, 8, 256, 1}},
      {"llama-15m", {true, 6, 288, 6, 768, 32000, 8, 256, 2}},
      {"gpt2", {false, 12, 768, 12, 3072, 50257, 4, 512, 2}},
  };
  return shapes;
}

double Now() {
  return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

struct Times {
  double median = 0, least = 0, most = 0;  // seconds
};

Times Measure(const std::function<void()>& work) {
  work();
  work();
  std::vector<double> times;
  const double begin = Now();
  while (static_cast<int>(times.size()) < kTimesMin || Now() - begin < kMeasureSeconds) {
    const double start = Now();
    work();
    times.push_back(Now() - start);
  }
  std::sort(times.begin(), times.end());
  return {times[times.size() / 2], times.front(), times.back()};
}

// What this machine can do, measured with the threads of the shape.
class Machine {
 public:
  explicit Machine(at::ScalarType type) {
    constexpr int64_t kSize = 2048;
    const Tensor a = at::randn({kSize, kSize}).to(type), b = at::randn({kSize, kSize}).to(type);
    const double seconds = Measure([&] { (void)Product(a, b); }).least;
    flop_rate_ = 2.0 * kSize * kSize * kSize / seconds;
    for (int64_t bytes = 64 << 10; bytes <= 512 << 20; bytes *= 2) {
      const Tensor from = at::zeros({bytes / 2 / 4}), to = at::empty({bytes / 2 / 4});
      Tensor target = to;
      copy_rate_[bytes] = static_cast<double>(bytes) / Measure([&] { target.copy_(from); }).least;
    }
  }
  double flop_rate() const { return flop_rate_; }
  // Bytes a second, read and written, of a copy that touches about so many: caches count.
  double copy_rate(double bytes) const {
    const auto found = copy_rate_.lower_bound(static_cast<int64_t>(bytes));
    return found == copy_rate_.end() ? copy_rate_.rbegin()->second : found->second;
  }
  double FloorSeconds(double bytes, double flops) const {
    return std::max(bytes / copy_rate(bytes), flops / flop_rate_);
  }

 private:
  double flop_rate_ = 0;
  std::map<int64_t, double> copy_rate_;
};

double BytesOf(const std::vector<Tensor>& tensors) {
  return std::accumulate(tensors.begin(), tensors.end(), 0.0, [](double sum, const Tensor& x) {
    return sum + static_cast<double>(x.numel()) * static_cast<double>(x.element_size());
  });
}

struct Row {
  std::string name;
  int64_t times_a_step = 0;
  Times time;
  double floor = 0;
};

class Profile {
 public:
  Profile(const Shape& shape, at::ScalarType type) : s_(shape), type_(type), machine_(type) {}

  void Run() {
    Embedding();
    Norms();
    Linears();
    if (s_.is_llama) Rope();
    Attention();
    Activation();
    Head();
  }
  void Print() const;

 private:
  Tensor Random(std::vector<int64_t> shape) const { return at::randn(shape).mul_(0.1).to(type_); }
  Tensor Wide(std::vector<int64_t> shape) const { return at::zeros(shape, at::kFloat); }
  Tensor Ids(int64_t n) const { return at::randint(s_.vocab, {n}, at::kLong); }

  // `touched`: every tensor that must be read or written at least once (twice if both).
  void Add(const std::string& name, int64_t times_a_step, const std::vector<Tensor>& touched,
           double flops, const std::function<void()>& work) {
    rows_.push_back(
        {name, times_a_step, Measure(work), machine_.FloorSeconds(BytesOf(touched), flops)});
  }

  void Embedding() {
    const Tensor weight = Random({s_.vocab, s_.width}), ids = Ids(s_.tokens());
    const Tensor y = Random({s_.tokens(), s_.width}), dweight = Wide({s_.vocab, s_.width});
    const Tensor rows = Wide({s_.tokens(), s_.width});  // of the table's gradient: read, written
    Add("embedding forward", 1, {ids, y, y}, 0, [&] { (void)EmbeddingForward(weight, ids); });
    Add("embedding backward", 1, {ids, y, rows, rows}, 0,
        [&] { EmbeddingBackward(y, ids, dweight); });
  }

  void Norms() {
    const Tensor x = Random({s_.tokens(), s_.width}), dy = Random({s_.tokens(), s_.width});
    const Tensor weight = Random({s_.width}), bias = Random({s_.width});
    const Tensor dweight = Wide({s_.width}), dbias = Wide({s_.width});
    NormSaved saved;
    const int64_t n = 2 * s_.layers + 1;
    Add(s_.is_llama ? "rms norm forward" : "layer norm forward", n, {x, x}, 0, [&] {
      if (s_.is_llama)
        (void)RmsNormForward(x, weight, {}, saved);
      else
        (void)LayerNormForward(x, weight, bias, 1e-5, saved);
    });
    Add(s_.is_llama ? "rms norm backward" : "layer norm backward", n, {x, dy, dy}, 0, [&] {
      if (s_.is_llama)
        (void)RmsNormBackward(dy, x, weight, {}, saved, dweight);
      else
        (void)LayerNormBackward(dy, x, weight, saved, dweight, dbias);
    });
  }

  void AddLinear(const std::string& name, int64_t in, int64_t out) {
    const Tensor x = Random({s_.tokens(), in}), dy = Random({s_.tokens(), out});
    // GPT-2 stores its weights the other way round.
    const Tensor weight = s_.is_llama ? Random({out, in}) : Random({in, out}).t();
    const Tensor dweight = s_.is_llama ? Wide({out, in}) : Wide({in, out}).t();
    const Tensor bias = s_.is_llama ? Tensor() : Random({out});
    const Tensor dbias = s_.is_llama ? Tensor() : Wide({out});
    const double flops = 2.0 * static_cast<double>(s_.tokens() * in * out);
    Add(name + " forward", s_.layers, {x, weight, dy}, flops,
        [&] { (void)LinearForward(x, weight, bias); });
    Add(name + " backward", s_.layers, {dy, x, weight, dweight, dweight, x}, 2 * flops,
        [&] { (void)LinearBackward(dy, x, weight, dweight, dbias); });
  }

  void Linears() {
    AddLinear("qkv", s_.width, 3 * s_.width);
    AddLinear("attention out", s_.width, s_.width);
    AddLinear("mlp in", s_.width, s_.is_llama ? 2 * s_.inner : s_.inner);
    AddLinear("mlp out", s_.inner, s_.width);
  }

  void Rope() {
    const int64_t turned = 2 * s_.heads, width = s_.width / s_.heads;
    const Tensor x = Random({s_.tokens(), 3 * s_.width})
                         .narrow(1, 0, turned * width)
                         .view({s_.tokens(), turned, width});
    const RopeTable table = MakeRopeTable(s_.length, {RopeFrequencies<double>({}, width)}, type_);
    const Tensor places = at::arange(s_.length, at::kLong).repeat({s_.rows});
    const RopeTable rows{table.cos_PH.index_select(0, places),
                         table.sin_PH.index_select(0, places)};
    const std::vector<Tensor> touched = {x, x, rows.cos_PH, rows.sin_PH};
    Add("rope forward", s_.layers, touched, 0, [&] { RopeForward(x, rows); });
    Add("rope backward", s_.layers, touched, 0, [&] { RopeBackward(x, rows); });
  }

  void Attention() {
    const AttentionShape shape{s_.heads, s_.heads, s_.width / s_.heads};
    const Tensor qkv = Random({s_.tokens(), shape.packed_width()});
    const Tensor dout = Random({s_.tokens(), s_.width});
    std::vector<int32_t> cu_seqlens;
    for (int64_t row = 0; row <= s_.rows; ++row)
      cu_seqlens.push_back(static_cast<int32_t>(row * s_.length));
    AttentionSaved saved;
    // A product of T x L/2 scores and heads, on average, for a causal row of L tokens.
    const double product = static_cast<double>(s_.tokens() * s_.length * s_.width);
    Add("attention forward", s_.layers, {qkv, dout}, 2 * product,
        [&] { (void)AttentionForward(qkv, cu_seqlens, shape, saved); });
    // Scores again, then the gradients of values, probabilities, queries and keys.
    Add("attention backward", s_.layers, {qkv, dout, dout, qkv}, 5 * product,
        [&] { (void)AttentionBackward(dout, qkv, cu_seqlens, shape, saved); });
  }

  void Activation() {
    const Tensor x = Random({s_.tokens(), s_.is_llama ? 2 * s_.inner : s_.inner});
    const Tensor dy = Random({s_.tokens(), s_.inner});
    Add(s_.is_llama ? "swiglu forward" : "gelu forward", s_.layers, {x, dy}, 0,
        [&] { (void)(s_.is_llama ? SwiGluForward(x) : GeluTanhForward(x)); });
    Add(s_.is_llama ? "swiglu backward" : "gelu backward", s_.layers, {dy, x, x}, 0,
        [&] { (void)(s_.is_llama ? SwiGluBackward(dy, x) : GeluTanhBackward(dy, x)); });
  }

  void Head() {
    const Tensor hidden = Random({s_.tokens(), s_.width}), weight = Random({s_.vocab, s_.width});
    const Tensor dweight = Wide({s_.vocab, s_.width}), target = Ids(s_.tokens());
    const Tensor dlogprob =
        at::full({s_.tokens()}, -1.0 / static_cast<double>(s_.tokens()), at::kFloat);
    Add("head, both ways", 1, {hidden, hidden, weight, dweight, dweight, target},
        6.0 * static_cast<double>(s_.tokens() * s_.vocab * s_.width), [&] {
          (void)HeadForwardBackward(hidden, {.weight_VD = weight, .dweight_VD = dweight}, target,
                                    dlogprob);
        });
  }

  const Shape s_;
  const at::ScalarType type_;
  const Machine machine_;
  std::vector<Row> rows_;
};

void Profile::Print() const {
  fmt::print("product {:.0f} GFLOP/s; copy {:.1f} GB/s of 1 MiB, {:.1f} of 64 MiB\n",
             machine_.flop_rate() / 1e9, machine_.copy_rate(1 << 20) / 1e9,
             machine_.copy_rate(64 << 20) / 1e9);
  fmt::print("{:<22}{:>7}{:>9}  {:>17}{:>10}{:>8}\n", "operation", "a step", "ms", "least to most",
             "floor ms", "ratio");
  double total = 0, floor = 0;
  for (const Row& row : rows_) {
    fmt::print("{:<22}{:>7}{:>9.3f}  {:>8.3f}{:>9.3f}{:>10.3f}{:>8.1f}\n", row.name,
               row.times_a_step, 1e3 * row.time.median, 1e3 * row.time.least, 1e3 * row.time.most,
               1e3 * row.floor, row.time.median / row.floor);
    total += static_cast<double>(row.times_a_step) * row.time.median;
    floor += static_cast<double>(row.times_a_step) * row.floor;
  }
  fmt::print("{:<22}{:>7}{:>9.1f}  {:>17}{:>10.1f}{:>8.1f}\n\n", "a micro-batch", "", 1e3 * total,
             "", 1e3 * floor, total / floor);
}

int Main(int argc, char** argv) {
  std::string shape_name = "quickstart", type = "float32";
  int threads = 0;
  CLI::App app("Time of each operation of a step beside its floor.", "bench_step_profile");
  app.add_option("--shape", shape_name)->check(CLI::IsMember(Shapes()));
  app.add_option("--type", type)->check(CLI::IsMember({"float32", "bfloat16"}));
  app.add_option("--threads", threads, "default: those of the shape's rank");
  CLI11_PARSE(app, argc, argv);
  const Shape& shape = Shapes().at(shape_name);
  threads = threads > 0 ? threads : shape.threads;
  at::set_num_threads(threads);
  const WithoutAutograd without_autograd;
  fmt::print("{}: {} layers, width {}, vocabulary {}, {} rows of {}; {}, {} threads\n", shape_name,
             shape.layers, shape.width, shape.vocab, shape.rows, shape.length, type, threads);
  Profile profile(shape, type == "bfloat16" ? at::kBFloat16 : at::kFloat);
  profile.Run();
  profile.Print();
  return 0;
}

}  // namespace
}  // namespace trainyard::worker

int main(int argc, char** argv) { return trainyard::worker::Main(argc, argv); }
