"""From the start of `generate` to its first token: this build beside another's, in turn.

    python3 bench/generate_start.py OTHER_BUILD MODEL [--rounds 7] [--cold]

OTHER_BUILD: the build folder of another commit's checkout. MODEL: a .gguf file or a folder. --cold: the model's files are
dropped from the page cache before each start, as far as the kernel does it (posix_fadvise). Prints the medians with the
least and the most, of the time on the clock and of processor time, and the median over rounds of the ratios.
"""

import argparse
import os
import pathlib
import resource
import statistics
import subprocess
import time

from yard import BUILD, machine, spread


def drop(model):
    for path in sorted(model.rglob("*")) if model.is_dir() else [model]:
        if not path.is_file():
            continue
        file = os.open(path, os.O_RDONLY)
        os.fsync(file)
        os.posix_fadvise(file, 0, 0, os.POSIX_FADV_DONTNEED)
        os.close(file)


def start(build, model):
    """Seconds on the clock until the first byte of the answer, and of the processors until the end."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    begin = time.monotonic()
    with subprocess.Popen([build / "bin/trainyard-trainer", "tool", "generate", "--model", model, "--prompt", "Once",
                           "--max-new-tokens", "1", "--temperature", "0"], stdout=subprocess.PIPE) as run:
        run.stdout.read(1)
        seconds = time.monotonic() - begin
        run.stdout.read()
    assert run.returncode == 0
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return seconds, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("other", type=pathlib.Path)
    parser.add_argument("model", type=pathlib.Path)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--cold", action="store_true")
    arguments = parser.parse_args()
    print(machine(), flush=True)
    builds = {"this build": BUILD, "the other": arguments.other.resolve()}
    seconds, processor = ({name: [] for name in builds} for _ in range(2))
    for turn in range(arguments.rounds + 1):
        for name, build in builds.items():
            if arguments.cold:
                drop(arguments.model)
            clock, used = start(build, arguments.model)
            if turn > 0:  # the first one brings the programs into memory
                seconds[name].append(clock)
                processor[name].append(used)
    for name in builds:
        print(f"{name:10s} {spread(seconds[name])} s to the first token, {spread(processor[name])} s of processors")
    for what, values in (("to the first token", seconds), ("of processors", processor)):
        print(f"this build over the other, {what}: {statistics.median(a / b for a, b in zip(*values.values())):.2f}")


main()
