"""How many steps Muon needs for AdamW's loss: llama-15m on WikiText-2, 8 rows of 256 tokens a step, one rank.

    python3 bench/muon.py [--data FOLDER] [--steps 600] [--rates 1e-3,2e-3,4e-3] [--seeds 1,2,3]
    python3 bench/muon.py --device cuda --at-once 6     on a GPU, with the programs of scripts/build_cuda

Both optimisers get the same rates, seeds, data order and schedule (warm-up over a twentieth, cosine to a tenth); held-out
loss is taken every 1/24 of the steps, and of each optimiser the rate with the lowest mean loss after the last step counts.
Two answers, both as a share of AdamW's steps, wanted at most 0.75:
  - where Muon's mean curve first reaches AdamW's mean loss after its last step (Muon's rate is still high there);
  - whether jobs of 0.75 times the steps, with their own shorter schedule, end at or below it.
FOLDER has train.txt or train.txt.gz, and valid.txt. A run that has ended is not repeated: --work keeps them.
"""

import argparse
import concurrent.futures
import gzip
import json
import os
import pathlib
import shutil
import statistics
import subprocess
import sys
import tempfile

from yard import BIN, ROOT, machine, spread

SHARE = 0.75  # wanted
EVALUATIONS = 24


def listed(kind):
    return lambda text: [kind(word) for word in text.split(",")]


def parse():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=pathlib.Path, default=ROOT / "../shared/data/wikitext-2")
    parser.add_argument("--steps", type=int, default=600)
    parser.add_argument("--rates", type=listed(float), default=[1e-3, 2e-3, 4e-3])
    parser.add_argument("--seeds", type=listed(int), default=[1, 2, 3])
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--device", choices=["cpu", "cuda"], default="cpu")
    parser.add_argument("--at-once", type=int, default=1, help="runs side by side; their times then mean little")
    parser.add_argument("--work", type=pathlib.Path, help="keep the runs here, and use those that are there")
    return parser.parse_args()


def text_of(data, work):
    """train.txt and valid.txt, unpacked."""
    train = work / "train.txt"
    if not train.exists():
        packed, plain = data / "train.txt.gz", data / "train.txt"
        if not (packed.exists() or plain.exists()) or not (data / "valid.txt").exists():
            sys.exit(f"error: {data} has no train.txt(.gz) and valid.txt; name WikiText-2's folder with --data")
        train.write_bytes(gzip.decompress(packed.read_bytes()) if packed.exists() else plain.read_bytes())
    return train, (data / "valid.txt").resolve()


class Runs:
    def __init__(self, arguments, work):
        self.arguments, self.work = arguments, work
        self.train, self.held_out = text_of(arguments.data, work)
        self.prepared = work / "prepared"  # tokenizer and tokens, by content: the first run's serve all

    def job(self, optim, rate, seed, steps):
        return {"version": 1, "name": "muon", "kind": "pretrain", "model": {"preset": "llama-15m"},
                "tokenizer": {"train": {"vocab_size": 8192}},
                "data": {"train": [{"path": str(self.train), "format": "text"}],
                         "validation": [{"path": str(self.held_out), "format": "text"}]},
                "train": {"max_steps": steps, "global_batch_size": 8, "max_length": 256, "learning_rate": rate,
                          "lr_scheduler_type": "cosine", "warmup_steps": steps // 20, "optim": optim, "seed": seed},
                "resources": {"ranks": 1, "threads_per_rank": self.arguments.threads, "device": self.arguments.device},
                "checkpoint": {"save_steps": 0},
                "evaluation": {"eval_steps": max(1, steps // EVALUATIONS), "max_rows": 256}}

    def ahead(self, runs):
        """Does these (optim, rate, seed, steps) side by side, the first one alone: it prepares the data for all."""
        first, *rest = runs
        self.run(*first)
        with concurrent.futures.ThreadPoolExecutor(self.arguments.at_once) as pool:
            list(pool.map(lambda run: self.run(*run), rest))

    def run(self, optim, rate, seed, steps):
        """The folder of one run, which is made if it is not there."""
        out = self.work / f"{optim}-{rate:g}-{seed}-{steps}"
        if not (out / "done").exists():
            shutil.rmtree(out, ignore_errors=True)
            out.mkdir()
            if self.prepared.exists():
                shutil.copytree(self.prepared, out / "prepared", copy_function=os.link)
            job = out / "job.json"
            job.write_text(json.dumps(self.job(optim, rate, seed, steps)))
            with open(out / "log", "w") as log:
                code = subprocess.run([BIN / "trainyard-trainer", "run", job, "--out", out], stdout=log,
                                      stderr=log).returncode
            if code != 0 and "LOSS_NOT_FINITE" not in (out / "log").read_text():
                sys.exit(f"error: {job} ended with {code}:\n{(out / 'log').read_text()[-2000:]}")
            if not self.prepared.exists():
                shutil.copytree(out / "prepared", self.prepared, copy_function=os.link)
            (out / "done").write_text(str(code))
        return out

    def curve(self, optim, rate, seed, steps):
        """({step: held-out loss}, median seconds of a step)."""
        out = self.run(optim, rate, seed, steps)
        points = {}
        for line in (out / "metrics.jsonl").read_text().splitlines():
            point = json.loads(line)
            points.setdefault(point["name"], {})[point["step"]] = point["value"]
        losses = points.get("eval_loss", {})
        if (out / "done").read_text() != "0":
            losses[steps] = float("inf")  # diverged
        seconds = statistics.median(points["step_seconds"].values())
        print(f"  {optim:5} rate {rate:g} seed {seed} {steps} steps: held-out loss {losses[steps]:.4f}, "
              f"{1e3 * seconds:.0f} ms a step", flush=True)
        return losses, seconds


def mean_curve(curves):
    return {step: statistics.mean(c[step] for c in curves) for step in curves[0] if all(step in c for c in curves)}


def reaches(curve, loss):
    """The step at which the curve, straight between its points, first is at or below `loss`; None if never."""
    before = None
    for step in sorted(curve):
        if curve[step] <= loss:
            if before is None or curve[before] == curve[step]:
                return step
            return before + (step - before) * (curve[before] - loss) / (curve[before] - curve[step])
        before = step
    return None


def best_rate(runs, optim, steps):
    """(rate, mean curve, last losses by seed, seconds of a step) of the rate with the least mean loss at the end."""
    found = []
    runs.ahead([(optim, rate, seed, steps) for rate in runs.arguments.rates for seed in runs.arguments.seeds])
    for rate in runs.arguments.rates:
        made = [runs.curve(optim, rate, seed, steps) for seed in runs.arguments.seeds]
        last = [losses[steps] for losses, _ in made]
        found.append((statistics.mean(last), rate, mean_curve([losses for losses, _ in made]), last,
                      statistics.median(seconds for _, seconds in made)))
    best = min(found)
    if len(found) > 1 and best[1] in (min(runs.arguments.rates), max(runs.arguments.rates)):
        print(f"note: {optim}'s best rate {best[1]:g} is at the edge of those tried")
    return best[1:]


def compare(runs):
    steps = runs.arguments.steps
    adamw_rate, _, adamw, adamw_seconds = best_rate(runs, "adamw", steps)
    muon_rate, muon_curve, muon, muon_seconds = best_rate(runs, "muon", steps)
    shorter_steps = int(SHARE * steps)
    runs.ahead([("muon", muon_rate, seed, shorter_steps) for seed in runs.arguments.seeds])
    shorter = [runs.curve("muon", muon_rate, seed, shorter_steps)[0][shorter_steps]
               for seed in runs.arguments.seeds]
    goal = statistics.mean(adamw)
    crossing = reaches(muon_curve, goal)
    print(f"\nheld-out loss, mean of {len(runs.arguments.seeds)} seeds\n"
          f"AdamW, rate {adamw_rate:g}, {steps} steps   {goal:.4f}   {spread(adamw, 4)}; {1e3 * adamw_seconds:.0f} ms a step\n"
          f"Muon,  rate {muon_rate:g}, {steps} steps   {statistics.mean(muon):.4f}   {spread(muon, 4)}; "
          f"{1e3 * muon_seconds:.0f} ms a step\n"
          f"Muon,  rate {muon_rate:g}, {shorter_steps} steps   {statistics.mean(shorter):.4f}   {spread(shorter, 4)}")
    print("Muon's curve does not reach AdamW's last loss" if crossing is None else
          f"Muon's curve reaches AdamW's last loss at step {crossing:.0f}: {crossing / steps:.2f} of the steps "
          f"(wanted: at most {SHARE})")
    print(f"jobs of {SHARE} times the steps {'reach' if statistics.mean(shorter) <= goal else 'do not reach'} it")


def main():
    arguments = parse()
    print(machine())
    if arguments.work is not None:
        arguments.work.mkdir(parents=True, exist_ok=True)
        return compare(Runs(arguments, arguments.work.resolve()))
    with tempfile.TemporaryDirectory(prefix="trainyard-muon-") as work:
        compare(Runs(arguments, pathlib.Path(work)))


if __name__ == "__main__":
    main()
