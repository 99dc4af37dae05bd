"""Answers to prompts of different lengths: ours beside transformers' generate, interleaved on this machine.

    python3 bench/generate.py [--rounds 5] [--prompts 16] [--new-tokens 48] [--llama PYTHON MODEL]
    python3 bench/generate.py --other BUILD     the build folder of another commit in transformers' place

PYTHON has llama-cpp-python, MODEL is SmolLM2-135M (a folder or .gguf file), which is exported for llama.cpp in each precision.
"""

import argparse
import os
import pathlib
import statistics
import subprocess
import sys
import tempfile

from yard import BIN, machine, spread

CACHE = pathlib.Path(os.environ.get("TRAINYARD_CACHE", os.path.expanduser("~/.cache/trainyard")))
PYTHON = pathlib.Path(os.environ.get("TRAINYARD_PYTHON", CACHE / "oracle/bin/python"))
HERE = pathlib.Path(__file__).parent


class Runner:
    def __init__(self, command):
        self.process = subprocess.Popen([str(word) for word in command], stdin=subprocess.PIPE,
                                        stdout=subprocess.PIPE, text=True, bufsize=1)
        self.seconds = []

    def turn(self, keep=True):
        self.process.stdin.write("\n")
        self.process.stdin.flush()
        answer = self.process.stdout.readline()
        if not answer:
            sys.exit(f"error: {self.process.args[0]} ended early")
        if keep:
            self.seconds.append(float(answer))

    def close(self):
        self.process.stdin.close()
        self.process.wait()


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--prompts", type=int, default=16)
    parser.add_argument("--new-tokens", type=int, default=48)
    parser.add_argument("--other", type=pathlib.Path)
    parser.add_argument("--llama", nargs=2, metavar=("PYTHON", "MODEL"))
    options = parser.parse_args()
    print(machine())
    with tempfile.TemporaryDirectory() as work:
        measure(options, pathlib.Path(work))


def measure(options, work):
    flags = ["--prompts", options.prompts, "--new-tokens", options.new_tokens]
    for precision in ("fp32", "bf16"):
        more = [*flags, "--precision", precision]
        runners = {"trainyard": Runner([BIN / "bench_generate", *more])}
        if options.other:
            runners["the other build"] = Runner([options.other / "bin/bench_generate", *more])
        else:
            runners["transformers generate"] = Runner([PYTHON, HERE / "torch_generate.py", *more])
        if options.llama:
            file = work / f"{precision}.gguf"
            subprocess.run([BIN / "trainyard", "model", "export", options.llama[1], file, "--format", "gguf", "--type",
                            {"fp32": "f32", "bf16": "bf16"}[precision]], check=True, stdout=subprocess.DEVNULL)
            runners["llama.cpp"] = Runner([options.llama[0], HERE / "llama_generate.py", file, *flags])
        for runner in runners.values():
            runner.turn(keep=False)
        for _ in range(options.rounds):
            for runner in runners.values():
                runner.turn()
        print(f"\nSmolLM2-135M's shape, {precision}: {options.prompts} prompts of 20 tokens and more, "
              f"{options.new_tokens} new tokens each, 2 threads")
        ours = runners["trainyard"].seconds
        tokens = options.prompts * options.new_tokens
        for name, runner in runners.items():
            runner.close()
            ratio = statistics.median(theirs / mine for theirs, mine in zip(runner.seconds, ours))
            print(f"  {name:24s} {spread(runner.seconds)} s   {tokens / statistics.median(runner.seconds):7.1f} tokens/s"
                  f"   {ratio:5.2f} x ours", flush=True)


main()
