"""The share of 200 steps' time that training stands still for checkpoints.

    python3 bench/checkpoint_share.py --preset gpt2 [--rows 1] [--tokens 64] [--threads 2]   GPT-2 124M, one every 50
    python3 bench/checkpoint_share.py [--rounds 2]                                            the quickstart's job
    both: [--steps 200]

From the job's own metrics, rank by rank: seconds of standing still over seconds of stepping and standing still.
Evaluation is off. The last checkpoint of a run is written while nothing else is done, so the 124M job, run by hand on
made-up words, takes one step more than is counted: its last checkpoint also tells what each would cost if it were
written at once. Small batches are the hard case: the seconds of a checkpoint are the same beside shorter steps.
"""

import argparse
import collections
import json
import random
import statistics
import subprocess
import sys

from yard import BIN, Yard, machine, need_quickstart_data, spread

STOPPED, WRITING = "step_phase_seconds/checkpoint", "checkpoint_seconds"
EVERY = 50

GPT2 = """version: 1
name: share
kind: pretrain
model:
  config: {{model_type: gpt2, n_layer: 12, n_embd: 768, n_head: 12, n_positions: 1024, vocab_size: 50257}}
tokenizer: {{train: {{vocab_size: 512}}}}
data: {{train: [{{path: {home}/words.txt, format: text}}]}}
train: {{max_steps: {steps}, global_batch_size: {rows}, micro_batch_size: {rows}, max_length: {tokens},
        learning_rate: 1.0e-4, warmup_steps: 10, logging_steps: 1, seed: 42}}
resources: {{ranks: 1, threads_per_rank: {threads}}}
checkpoint: {{save_steps: {every}, save_total_limit: 1}}
evaluation: {{eval_steps: 0}}
"""


def run_gpt2(yard, arguments):
    """{name: {step: value}} of a run by hand."""
    chance = random.Random(42)
    words = ["".join(chance.choices("abcdefghijklmnopqrstuvwxyz", k=chance.randint(2, 9))) for _ in range(3000)]
    (yard.home / "words.txt").write_text("\n".join(" ".join(chance.choices(words, k=12)) for _ in range(20000)))
    job = yard.home / "job.yaml"
    job.write_text(GPT2.format(home=yard.home, steps=arguments.steps + 1, rows=arguments.rows,
                               tokens=arguments.tokens, threads=arguments.threads, every=EVERY))
    yard.start(BIN / "trainyard-trainer", "run", job, "--out", yard.home / "out")
    if yard.process.wait() != 0:
        sys.exit(f"error: the job failed:\n{(yard.home / 'bench.log').read_text()[-3000:]}")
    points = collections.defaultdict(dict)
    for line in (yard.home / "out/metrics.jsonl").read_text().splitlines():
        point = json.loads(line)
        points[point["name"]][point["step"]] = point["value"]
    return points


def steps_beside(steps, writing):
    """The steps that were done, as a whole or in part, while a checkpoint was being written."""
    beside = set()
    for begin, seconds in writing.items():
        step = begin + 1
        while seconds > 0 and step in steps:
            beside.add(step)
            seconds -= steps[step]
            step += 1
    return beside


def gpt2(arguments):
    with Yard() as yard:
        points = run_gpt2(yard, arguments)
    last = arguments.steps + 1
    at_once = points[STOPPED].pop(last)
    points[WRITING].pop(last)
    steps = {s: t for s, t in points["step_seconds"].items() if s < last}
    stopped, writing = points[STOPPED], points[WRITING]
    assert len(steps) == arguments.steps and sorted(stopped) == list(range(EVERY, last, EVERY)) == sorted(writing)
    stepping, still = sum(steps.values()), sum(stopped.values())
    beside = steps_beside(steps, writing)
    alone = [t for s, t in steps.items() if s not in beside and s > 5]
    print(f"GPT-2 124M, {arguments.rows} x {arguments.tokens} tokens, {arguments.threads} threads; "
          f"{stepping:.1f} s of steps, {still:.2f} s of standing still for {len(stopped)} checkpoints")
    print(f"stood still for one ms  {spread([1e3 * s for s in stopped.values()], 0)}")
    print(f"one was written in   s  {spread(list(writing.values()), 1)}; at once, by the last: {at_once:.1f}")
    print(f"a step alone        ms  {1e3 * statistics.median(alone):.0f}")
    print(f"while one is written ms {1e3 * statistics.median([steps[s] for s in beside]):.0f} ({len(beside)} steps)"
          if beside else "no step was done while one was written")
    print(f"share of standing still %  {100 * still / (stepping + still):.2f}; were all written at once "
          f"{100 * len(stopped) * at_once / (stepping + len(stopped) * at_once):.1f}")


def quickstart(arguments):
    need_quickstart_data()
    shares, each = [], []
    with Yard() as yard:
        yard.start_cluster(2)
        for _ in range(arguments.rounds):
            job = yard.train(f"train.max_steps={arguments.steps}", "evaluation.eval_steps=0")
            points = yard.points(job, "step_seconds", STOPPED)
            steps, saves = points["step_seconds"], points[STOPPED]
            assert len(steps) == arguments.steps and max(saves) == arguments.steps
            shares.append(100 * sum(saves.values()) / (sum(steps.values()) + sum(saves.values())))
            each += saves.values()
            print(f"{len(saves)} checkpoints at steps {', '.join(map(str, sorted(saves)))}; "
                  f"{sum(steps.values()):.1f} s of steps, {sum(saves.values()):.2f} s of standing still")
    print(f"share of standing still  %  {spread(shares)}")
    print(f"one checkpoint          ms  {spread([1e3 * s for s in each], 0)}")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--preset", choices=["gpt2"])
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--steps", type=int, default=200)
    parser.add_argument("--rows", type=int, default=1)
    parser.add_argument("--tokens", type=int, default=64)
    parser.add_argument("--threads", type=int, default=2)
    arguments = parser.parse_args()
    print(machine())
    (gpt2 if arguments.preset else quickstart)(arguments)


main()
