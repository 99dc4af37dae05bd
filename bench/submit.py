"""Durable submits: 50 clients, 500 a second in all, open loop, against a coordinator on loopback.

    python3 bench/submit.py [--rounds 3] [--rate 500] [--clients 50] [--seconds 20]

Two jobs are submitted, in rounds of their own: one that names two data files, and the quickstart's, which names 37.
Each round has a fresh home. A latency counts from the moment a submit was due to its answer, which comes after the
fsync; the load program runs on the same cores. Wanted: p99 under 10 ms.
"""

import argparse
import json
import os
import pathlib
import subprocess

from yard import BIN, QUICKSTART, ROOT, Yard, machine, need_quickstart_data, spread


QUICKSTART_JOB = (ROOT / "examples/jobs/shakespeare.yaml").read_text()
JOBS = {
    "a job of two data files": QUICKSTART_JOB.replace("train/*.txt", "train/hamlet.txt")
    .replace("held-out/*.txt", "held-out/macbeth.txt"),
    "the quickstart's job, of 37 data files": QUICKSTART_JOB,
}


def cpu_seconds(pid):
    user, system = pathlib.Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[11:13]
    return (int(user) + int(system)) / os.sysconf("SC_CLK_TCK")


def measure(arguments, job, seed):
    with Yard() as yard:
        yard.start_coordinator()
        (yard.home / "job.yaml").write_text(job)
        out = subprocess.run(
            [BIN / "bench_submit", "--home", yard.home, "--job", yard.home / "job.yaml",
             "--clients", str(arguments.clients), "--rate", str(arguments.rate),
             "--seconds", str(arguments.seconds), "--seed", str(seed)],
            cwd=QUICKSTART, check=True, capture_output=True, text=True).stdout
        result = json.loads(out)
        # Start and upload of the data are in it.
        result["coordinator_cpu_ms"] = 1e3 * cpu_seconds(yard.process.pid) / result["submits"]
        return result


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--rate", type=float, default=500)
    parser.add_argument("--clients", type=int, default=50)
    parser.add_argument("--seconds", type=float, default=20)
    arguments = parser.parse_args()
    need_quickstart_data()
    print(machine())
    for name, job in JOBS.items():
        rounds = [measure(arguments, job, seed + 1) for seed in range(arguments.rounds)]
        print(f"\n{name}")
        for field in ("p50_ms", "p90_ms", "p99_ms", "max_ms", "coordinator_cpu_ms", "fsync_p50_ms", "fsync_p99_ms"):
            print(f"  {field:<19} {spread([r[field] for r in rounds])}", flush=True)


main()
