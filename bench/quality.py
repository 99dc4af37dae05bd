"""Held-out bits per byte of the quickstart beside a character-level model of nanoGPT's CPU recipe, in the same time.

    python3 bench/quality.py

First the quickstart's job on two workers: its time runs from the start of its ranks to its end, tokenizer training,
evaluations and checkpoints included. Then bench/nanogpt_char.py gets that time for its steps alone (its evaluation is
not counted), on the same bytes and as many threads. Wanted: ours lower.
"""

import json
import os
import subprocess
import sys
from datetime import datetime

from yard import QUICKSTART, Yard, machine, need_quickstart_data

CACHE = os.environ.get("TRAINYARD_CACHE", os.path.expanduser("~/.cache/trainyard"))


def ours(yard):
    job = yard.train()
    events = json.loads(yard.run("events", job, "-o", "json").stdout)["events"]
    begun = next(e["time"] for e in events if e["type"] == "AttemptStarted")
    points = yard.points(job, "eval_bits_per_byte", "tokens_total", "step_seconds")
    last = max(points["eval_bits_per_byte"])
    return {"bits_per_byte": points["eval_bits_per_byte"][last], "steps": max(points["step_seconds"]),
            "tokens": int(points["tokens_total"][last]), "seconds": between(begun, events[-1]["time"])}


def between(begin, end):
    """Seconds between two of the API's times, "2026-01-31T12:00:00.123456Z"."""
    first, second = (datetime.fromisoformat(text.rstrip("Z")[:26]) for text in (begin, end))
    return round((second - first).total_seconds(), 1)


def peer(seconds):
    data = QUICKSTART / "data/shakespeare"
    out = subprocess.run(
        [f"{CACHE}/oracle/bin/python", os.path.join(os.path.dirname(__file__), "nanogpt_char.py"),
         "--train", data / "train/*.txt", "--held-out", data / "held-out/*.txt", "--seconds", str(seconds),
         "--threads", "2"], check=True, capture_output=True, text=True).stdout
    return json.loads(out)


def main():
    need_quickstart_data()
    if not os.path.exists(f"{CACHE}/oracle/bin/python"):
        sys.exit("error: the peer needs PyTorch; run scripts/setup --oracle")
    print(machine())
    with Yard() as yard:
        yard.start_cluster(2)
        mine = ours(yard)
    print(f"quickstart  {json.dumps(mine)}", flush=True)
    theirs = peer(mine["seconds"])
    print(f"nanoGPT     {json.dumps(theirs)}")
    print(f"held-out bits per byte: {mine['bits_per_byte']:.4f} against {theirs['bits_per_byte']:.4f}")


main()
