"""Training steps of the engine beside PyTorch's, interleaved on this machine: docs/performance.md has the table.

    python3 bench/train_step.py [--work gpt2,nano,llama-15m] [--rounds 7]
    python3 bench/train_step.py --device cuda        on a GPU; the programs are those of scripts/build_cuda

Every program holds its model and takes a few steps when it is its turn; a round is a turn of each. Printed per work and
peer: the median step with its spread, and the median over rounds of the peer's time over ours.
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


class Runner:
    """A program that takes a step for every line it is sent."""

    def __init__(self, command):
        self.process = subprocess.Popen([str(word) for word in command], stdin=subprocess.PIPE,
                                        stdout=subprocess.PIPE, text=True, bufsize=1)
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


def measure(name, rounds, device):
    flags, shape, steps, peers = (CUDA_WORKS if device == "cuda" else WORKS)[name]
    where = ["--device", device]
    shape_flags = [word for key, value in shape.items() for word in (f"--{key}", value)]
    runners = {"trainyard, bf16 with float32 masters": Runner([STEP, *flags, *where])}
    runners["trainyard, float32"] = Runner([STEP, *flags, *where, "--precision", "fp32"])
    for peer, peer_flags in peers:
        runners[peer] = Runner([PYTHON, HERE / "torch_step.py", *peer_flags, *shape_flags, *where])
    for runner in runners.values():
        runner.turn(3, keep=False)
    for _ in range(rounds):
        for runner in runners.values():
            runner.turn(steps)
    for runner in runners.values():
        runner.close()
    ours = next(iter(runners.values())).seconds
    tokens = shape["rows"] * shape["length"]
    threads = ", 2 threads" if device == "cpu" else ""
    print(f"\n{name}: {shape['rows']} x {shape['length']} tokens, {rounds} rounds of {steps} steps{threads}")
    for peer, runner in runners.items():
        milliseconds = [1000 * s for s in runner.seconds]
        ratio = statistics.median(theirs / mine for theirs, mine in zip(runner.seconds, ours))
        print(f"  {peer:38s} {spread(milliseconds)} ms   {tokens / statistics.median(runner.seconds):9.0f} tokens/s"
              f"   {ratio:5.2f} x ours", flush=True)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--device", choices=["cpu", "cuda"], default="cpu")
    parser.add_argument("--work", help="names, with commas between; default: all")
    parser.add_argument("--rounds", type=int, default=7)
    options = parser.parse_args()
    if not PYTHON.exists():
        sys.exit("error: the peers need PyTorch; run scripts/setup --oracle, or name a Python in TRAINYARD_PYTHON")
    print(machine())
    if options.device == "cuda":
        subprocess.run(["nvidia-smi", "--query-gpu=name,driver_version", "--format=csv,noheader"], check=True)
    works = options.work.split(",") if options.work else list(CUDA_WORKS if options.device == "cuda" else WORKS)
    for name in works:
        measure(name, options.rounds, options.device)


main()
