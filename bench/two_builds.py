"""Steps per second of the quickstart's job, two ranks of one thread, with two builds in turn.

    python3 bench/two_builds.py OTHER_BUILD [--rounds 3] [--steps 60]

OTHER_BUILD: the build folder of another commit's checkout. From the median step of each run, without the first five.
"""

import argparse
import os
import pathlib
import statistics
import subprocess
import sys

from yard import BUILD, QUICKSTART, Yard, machine, need_quickstart_data, spread

WARM_UP = 5


def one(steps):
    """Prints the tokens/s of one run with the build in TRAINYARD_BUILD."""
    with Yard() as yard:
        yard.start_cluster(2)
        job = yard.train("resources.ranks=2", "resources.threads_per_rank=1", f"train.max_steps={steps}",
                         f"checkpoint.save_steps={steps}", "evaluation.eval_steps=0")
        rates = yard.points(job, "tokens_per_second")["tokens_per_second"]
        print(statistics.median(rate for step, rate in rates.items() if step > WARM_UP))


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("other", type=pathlib.Path)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--steps", type=int, default=60)
    parser.add_argument("--one", action="store_true", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.one:
        return one(arguments.steps)
    need_quickstart_data()
    builds = {"this build": BUILD, "the other": arguments.other.resolve()}
    if not (builds["the other"] / "quickstart").exists():
        (builds["the other"] / "quickstart").symlink_to(QUICKSTART)
    print(machine(), flush=True)
    rates = {name: [] for name in builds}
    for _ in range(arguments.rounds):
        for name, build in builds.items():
            run = subprocess.run([sys.executable, __file__, str(build), "--one", "--steps", str(arguments.steps)],
                                 env={**os.environ, "TRAINYARD_BUILD": str(build)}, stdout=subprocess.PIPE, check=True)
            rates[name].append(float(run.stdout.split()[-1]))
    for name, values in rates.items():
        print(f"{name:10s} tokens/s  {spread(values, 0)}   steps/s {statistics.median(values) / (16 * 256):.2f}")
    here, there = rates.values()
    print(f"this build over the other  {spread([a / b for a, b in zip(here, there)])}")


main()
