"""Training steps of the engine beside PyTorch's, interleaved on this machine: docs/performance.md has the table.

    python3 bench/train_step.py [--work gpt2,nano,llama-15m] [--rounds 7] [--kinds amx,avx512,avx2] [--peers fp32,bf16]
    python3 bench/train_step.py --device cuda        on a GPU; the programs are those of scripts/build_cuda

Every program holds its model and takes a few steps when it is its turn; a round is a turn of each. Printed per work and
peer: the median step with its spread, and the median over rounds of the peer's time over ours; at the end a table with a
column per kind of processor: the precision that auto comes to, its step over the better one's, and the fastest peer's time
over ours at that default. A kind is this processor held back by the environment of every program; one that this processor
does not reach is refused. Without --kinds: this processor as it is.
"""

import argparse
import os
import pathlib
import statistics
import subprocess
import sys

from yard import BIN, machine, spread

CACHE = pathlib.Path(os.environ.get("TRAINYARD_CACHE", os.path.expanduser("~/.cache/trainyard")))
PYTHON = pathlib.Path(os.environ.get("TRAINYARD_PYTHON", CACHE / "oracle/bin/python"))
STEP = BIN / "bench_train_step"
HERE = pathlib.Path(__file__).parent

# Name: (our flags, the peers' shape, steps of a turn, peers as (name, flags)).
WORKS = {
    "gpt2": (["--preset", "gpt2", "--rows", "4", "--length", "512", "--vocab", "50304"],
             {"layers": 12, "width": 768, "heads": 12, "rows": 4, "length": 512, "vocab": 50304}, 1,
             [("nanoGPT style, bf16", ["--model", "nanogpt", "--numbers", "bf16"]),
              ("transformers, bf16", ["--model", "transformers", "--numbers", "bf16"]),
              ("nanoGPT style, autocast", ["--model", "nanogpt", "--numbers", "autocast"]),
              ("nanoGPT style, float32", ["--model", "nanogpt", "--numbers", "fp32"])]),
    "nano": (["--preset", "gpt2-nano", "--rows", "12", "--length", "64", "--vocab", "65"],
             {"layers": 4, "width": 128, "heads": 4, "rows": 12, "length": 64, "vocab": 65}, 20,
             [("nanoGPT style, float32", ["--model", "nanogpt", "--numbers", "fp32"]),
              ("nanoGPT style, bf16", ["--model", "nanogpt", "--numbers", "bf16"])]),
    "llama-15m": (["--preset", "llama-15m", "--rows", "8", "--length", "256", "--vocab", "32000"],
                  {"layers": 6, "width": 288, "heads": 6, "rows": 8, "length": 256, "vocab": 32000}, 3,
                  [("transformers, bf16", ["--model", "transformers", "--family", "llama", "--numbers", "bf16"]),
                   ("transformers, float32", ["--model", "transformers", "--family", "llama", "--numbers", "fp32"])]),
}
# On a GPU, where nanoGPT compiles its model and multiplies by autocast.
CUDA_WORKS = {
    "gpt2": (["--preset", "gpt2", "--rows", "16", "--length", "1024", "--vocab", "50304"],
             {"layers": 12, "width": 768, "heads": 12, "rows": 16, "length": 1024, "vocab": 50304}, 10,
             [("transformers, autocast", ["--model", "transformers", "--numbers", "autocast"]),
              ("transformers, bf16", ["--model", "transformers", "--numbers", "bf16"]),
              ("nanoGPT style, autocast", ["--model", "nanogpt", "--numbers", "autocast"]),
              ("nanoGPT style, bf16", ["--model", "nanogpt", "--numbers", "bf16"]),
              ("nanoGPT style, autocast, compiled", ["--model", "nanogpt", "--numbers", "autocast", "--compile"])]),
    "llama-110m": (["--preset", "llama-110m", "--rows", "8", "--length", "2048", "--vocab", "32000"],
                   {"layers": 12, "width": 768, "heads": 12, "rows": 8, "length": 2048, "vocab": 32000}, 10,
                   [("transformers, autocast", ["--model", "transformers", "--family", "llama", "--numbers",
                                                "autocast"]),
                    ("transformers, bf16", ["--model", "transformers", "--family", "llama", "--numbers", "bf16"])]),
}


# What each library is told to use at most, and the flag that this processor needs for that.
KINDS = {
    "amx": ("amx_bf16", {}),
    "avx512": ("avx512f", {"ONEDNN_MAX_CPU_ISA": "AVX512_CORE_VNNI", "MKL_ENABLE_INSTRUCTIONS": "AVX512",
                           "ATEN_CPU_CAPABILITY": "avx512", "TRAINYARD_KERNELS": "AVX3"}),
    "avx2": ("avx2", {"ONEDNN_MAX_CPU_ISA": "AVX2", "MKL_ENABLE_INSTRUCTIONS": "AVX2", "ATEN_CPU_CAPABILITY": "avx2",
                      "TRAINYARD_KERNELS": "AVX2"}),
}


class Runner:
    """A program that takes a step for every line it is sent."""

    def __init__(self, command, environment):
        self.process = subprocess.Popen([str(word) for word in command], stdin=subprocess.PIPE,
                                        stdout=subprocess.PIPE, text=True, bufsize=1,
                                        env={**os.environ, **environment})
        self.seconds = []  # of a step, one entry a turn

    def turn(self, steps, keep=True):
        total = 0.0
        for _ in range(steps):
            self.process.stdin.write("\n")
            self.process.stdin.flush()
            answer = self.process.stdout.readline().split()
            if not answer:
                sys.exit(f"error: {self.process.args[0]} ended early")
            total += float(answer[0])
        if keep:
            self.seconds.append(total / steps)

    def close(self):
        self.process.stdin.close()
        self.process.wait()


def choice(flags, environment):
    """What precision auto comes to: its name, and the rates in words."""
    words = subprocess.run([STEP, *flags, "--choose"], capture_output=True, text=True, check=True,
                           env={**os.environ, **environment}).stdout.strip()
    return words.split(" ", 1)


def measure(name, kind, options):
    """Prints the work's steps; for the table: default, its step over the better one's, fastest peer over it."""
    flags, shape, steps, peers = (CUDA_WORKS if options.device == "cuda" else WORKS)[name]
    where = ["--device", options.device]
    environment = KINDS[kind][1] if kind else {}
    shape_flags = [word for key, value in shape.items() for word in (f"--{key}", value)]
    ours = {"bf16": "trainyard, bf16 with float32 masters", "fp32": "trainyard, float32"}
    default, why = choice(flags, environment) if options.device == "cpu" else ("bf16", "on a GPU")
    runners = {}
    for precision in (default, *(p for p in ours if p != default)):
        runners[ours[precision]] = Runner([STEP, *flags, *where, "--precision", precision], environment)
    for peer, peer_flags in peers:
        numbers = peer_flags[peer_flags.index("--numbers") + 1]
        if not options.peers or numbers in options.peers.split(","):
            runners[peer] = Runner([PYTHON, HERE / "torch_step.py", *peer_flags, *shape_flags, *where], environment)
    for runner in runners.values():
        runner.turn(options.warm, keep=False)
    for _ in range(options.rounds):
        for runner in runners.values():
            runner.turn(steps)
    for runner in runners.values():
        runner.close()
    tokens = shape["rows"] * shape["length"]
    threads = ", 2 threads" if options.device == "cpu" else ""
    print(f"\n{name}{', ' + kind if kind else ''}: {shape['rows']} x {shape['length']} tokens, {options.rounds} rounds of "
          f"{steps} steps{threads}; precision auto is {default}, {why}")
    default_seconds = runners[ours[default]].seconds
    ratios = {}
    for peer, runner in runners.items():
        milliseconds = [1000 * s for s in runner.seconds]
        ratios[peer] = statistics.median(theirs / mine for theirs, mine in zip(runner.seconds, default_seconds))
        print(f"  {peer:38s} {spread(milliseconds)} ms   {tokens / statistics.median(runner.seconds):9.0f} tokens/s"
              f"   {ratios[peer]:5.2f} x the default's", flush=True)
    own = {ours["fp32"], ours["bf16"]}
    over_better = 1 / min(ratios[o] for o in own)
    theirs = {peer: ratio for peer, ratio in ratios.items() if peer not in own}
    fastest = min(theirs, key=theirs.get) if theirs else None
    beside = f"{theirs[fastest]:.2f} ({fastest})" if fastest else "no peer"
    return f"{default}, {over_better:.2f} of the better; {beside}"


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--device", choices=["cpu", "cuda"], default="cpu")
    parser.add_argument("--work", help="names, with commas between; default: all")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--warm", type=int, default=3, help="steps of each before the first round")
    parser.add_argument("--kinds", help=f"of {', '.join(KINDS)}, with commas between; default: this processor as it is")
    parser.add_argument("--peers", help="their numbers, of fp32, bf16, autocast; default: all")
    options = parser.parse_args()
    if not PYTHON.exists():
        sys.exit("error: the peers need PyTorch; run scripts/setup --oracle, or name a Python in TRAINYARD_PYTHON")
    print(machine())
    if options.device == "cuda":
        subprocess.run(["nvidia-smi", "--query-gpu=name,driver_version", "--format=csv,noheader"], check=True)
    works = options.work.split(",") if options.work else list(CUDA_WORKS if options.device == "cuda" else WORKS)
    kinds = options.kinds.split(",") if options.kinds else [None]
    flags = next((line.split() for line in open("/proc/cpuinfo") if line.startswith("flags")), [])
    for kind in filter(None, kinds):
        if kind not in KINDS or KINDS[kind][0] not in flags:
            sys.exit(f"error: --kinds {kind}: this processor is none of the kind; it is one of {', '.join(KINDS)}")
    table = {name: {kind: measure(name, kind, options) for kind in kinds} for name in works}
    print("\n| step | " + " | ".join(kind or "this processor" for kind in kinds) + " |")
    print("|---|" + "---|" * len(kinds))
    for name, cells in table.items():
        print(f"| {name} | " + " | ".join(cells[kind] for kind in kinds) + " |")


main()
