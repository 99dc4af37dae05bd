"""The memory that `common/plan` foretells beside what a training takes: GPT-2 124M, with checkpoints on.

    python3 bench/plan_memory.py [--rows 4] [--tokens 512] [--threads 2] [--steps 4] [--precisions fp32 bf16]
                                 [--recompute none block] [--optim adamw]

Each run is trainyard-trainer by hand on made-up words, a checkpoint half way written beside the steps. The trainer's log
tells the plan and the kernel's own peak of its resident memory (VmHWM, begun anew before the model is loaded) less what
was resident then.
"""

import argparse
import itertools
import random
import re
import sys

from yard import BIN, Yard, machine

JOB = """version: 1
name: plan
kind: pretrain
model:
  config: {{model_type: gpt2, n_layer: 12, n_embd: 768, n_head: 12, n_positions: 1024, vocab_size: 50257}}
tokenizer: {{train: {{vocab_size: 512}}}}
data:
  train: [{{path: {home}/words.txt, format: text}}]
  validation: [{{path: {home}/words.txt, format: text}}]
train: {{max_steps: {steps}, global_batch_size: {rows}, micro_batch_size: {rows}, max_length: {tokens}, optim: {optim},
        precision: {precision}, recompute: {recompute}, learning_rate: 1.0e-4, seed: 42}}
resources: {{ranks: 1, threads_per_rank: {threads}}}
checkpoint: {{save_steps: {every}, save_total_limit: 1}}
evaluation: {{eval_steps: 0, max_rows: {rows}}}
"""


def measure(yard, arguments, precision, recompute):
    """{name: megabytes} of one run's memory line."""
    out = yard.home / f"{precision}-{recompute}"
    job = yard.home / "job.yaml"
    job.write_text(JOB.format(home=yard.home, precision=precision, recompute=recompute, rows=arguments.rows,
                              tokens=arguments.tokens, threads=arguments.threads, steps=arguments.steps,
                              every=arguments.steps // 2, optim=arguments.optim))
    yard.start(BIN / "trainyard-trainer", "run", job, "--out", out)
    code = yard.process.wait()
    log = (yard.home / "bench.log").read_text()
    if code != 0:
        sys.exit(f"error: the job failed:\n{log[-3000:]}")
    line = [line for line in log.splitlines() if "memory planned_mb=" in line][-1]
    return {name: float(value) for name, value in re.findall(r"(\w+)=([\d.]+)", line)}


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--rows", type=int, default=4)
    parser.add_argument("--tokens", type=int, default=512)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--steps", type=int, default=4)
    parser.add_argument("--optim", default="adamw")
    parser.add_argument("--precisions", nargs="+", default=["fp32", "bf16"])
    parser.add_argument("--recompute", nargs="+", default=["none"])
    arguments = parser.parse_args()
    print(machine())
    worst = 0
    with Yard() as yard:
        chance = random.Random(42)
        words = ["".join(chance.choices("abcdefghijklmnopqrstuvwxyz", k=chance.randint(2, 9))) for _ in range(3000)]
        (yard.home / "words.txt").write_text("\n".join(" ".join(chance.choices(words, k=12)) for _ in range(4000)))
        for precision, recompute in itertools.product(arguments.precisions, arguments.recompute):
            memory = measure(yard, arguments, precision, recompute)
            off = memory["planned_mb"] / memory["peak_mb"] - 1
            worst = max(worst, abs(off))
            print(f"{precision} recompute={recompute} {arguments.optim} planned_mb={memory['planned_mb']:.1f} "
                  f"measured_mb={memory['peak_mb']:.1f} off={off:+.1%} arena_planned_mb={memory['planned_arena_mb']:.1f} "
                  f"arena_mb={memory['arena_mb']:.1f}", flush=True)
    print(f"worst {worst:.1%}; asked: within 5 %")


if __name__ == "__main__":
    main()
