"""Training steps of the engine beside PyTorch's, interleaved on this machine: docs/performance.md has the table.

    python3 bench/train_step.py [--work gpt2,nano,llama-15m] [--rounds 7]

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

PYTHON = pathlib.Path(os.environ.get("TRAINYARD_CACHE", os.path.expanduser("~/.cache/trainyard"))) / "oracle/bin/python"
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


def measure(name, rounds):
    flags, shape, steps, peers = WORKS[name]
    shape_flags = [word for key, value in shape.items() for word in (f"--{key}", value)]
    runners = {"trainyard, bf16 with float32 masters": Runner([BIN / "bench_train_step", *flags])}
    runners["trainyard, float32"] = Runner([BIN / "bench_train_step", *flags, "--precision", "fp32"])
    for peer, peer_flags in peers:
        runners[peer] = Runner([PYTHON, HERE / "torch_step.py", *peer_flags, *shape_flags])
    for runner in runners.values():
        runner.turn(3, keep=False)
    for _ in range(rounds):
        for runner in runners.values():
            runner.turn(steps)
    for runner in runners.values():
        runner.close()
    ours = next(iter(runners.values())).seconds
    tokens = shape["rows"] * shape["length"]
    print(f"\n{name}: {shape['rows']} x {shape['length']} tokens, {rounds} rounds of {steps} steps, 2 threads")
    for peer, runner in runners.items():
        milliseconds = [1000 * s for s in runner.seconds]
        ratio = statistics.median(theirs / mine for theirs, mine in zip(runner.seconds, ours))
        print(f"  {peer:38s} {spread(milliseconds)} ms   {tokens / statistics.median(runner.seconds):9.0f} tokens/s"
              f"   {ratio:5.2f} x ours", flush=True)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--work", default=",".join(WORKS))
    parser.add_argument("--rounds", type=int, default=7)
    options = parser.parse_args()
    if not PYTHON.exists():
        sys.exit("error: the peers need PyTorch; run scripts/setup --oracle")
    print(machine())
    for name in options.work.split(","):
        measure(name, options.rounds)


main()
