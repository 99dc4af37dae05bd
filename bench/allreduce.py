"""All-reduce of float32 values between two processes of this host, beside Gloo through torch.distributed.

    python3 bench/allreduce.py [--megabytes 500] [--turns 3]

Turns alternate; each starts two processes and takes five rounds. Rates are bytes of one rank's values over the time of a
round; the ratio is taken per turn.
"""

import argparse
import os
import pathlib
import re
import socket
import statistics
import subprocess
import sys

from yard import BIN, machine, spread

PYTHON = pathlib.Path(os.environ.get("TRAINYARD_CACHE", os.path.expanduser("~/.cache/trainyard"))) / "oracle/bin/python"

GLOO_RANK = """
import os, sys, time, torch, torch.distributed as dist
rank, megabytes = int(sys.argv[1]), int(sys.argv[2])
torch.set_num_threads(1)
dist.init_process_group("gloo", rank=rank, world_size=2)
values = torch.ones(megabytes * 250_000)
rates = []
for _ in range(6):
    dist.barrier()
    begin = time.perf_counter()
    dist.all_reduce(values)
    rates.append(values.numel() * 4 / (time.perf_counter() - begin) / 1e9)
if rank == 0:
    print(sorted(rates[1:])[2], flush=True)
dist.destroy_process_group()
"""


def ours(megabytes):
    out = subprocess.run([BIN / "bench_allreduce", "2", str(megabytes), "5"], check=True, capture_output=True, text=True)
    return float(re.search(r"all-reduce +GB/s +[\d.]+ best, +([\d.]+) median", out.stdout).group(1))


def gloo(megabytes):
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    environment = dict(os.environ, MASTER_ADDR="127.0.0.1", MASTER_PORT=str(port), GLOO_SOCKET_IFNAME="lo")
    ranks = [subprocess.Popen([PYTHON, "-c", GLOO_RANK, str(rank), str(megabytes)], env=environment, text=True,
                              stdout=subprocess.PIPE) for rank in range(2)]
    answers = [rank.communicate()[0] for rank in ranks]
    if any(rank.returncode for rank in ranks):
        sys.exit("error: a rank of the peer failed")
    return float(answers[0])


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--megabytes", type=int, default=500)
    parser.add_argument("--turns", type=int, default=3)
    options = parser.parse_args()
    if not PYTHON.exists():
        sys.exit("error: the peer needs PyTorch; run scripts/setup --oracle")
    print(machine())
    mine, theirs = [], []
    for _ in range(options.turns):
        mine.append(ours(options.megabytes))
        theirs.append(gloo(options.megabytes))
    print(f"{options.megabytes} MB of float32, two processes of this host")
    print(f"  trainyard, shared memory  GB/s  {spread(mine)}")
    print(f"  Gloo, torch.distributed   GB/s  {spread(theirs)}")
    print(f"  ratio                           {statistics.median(a / b for a, b in zip(mine, theirs)):.1f}")


main()
