"""A coordinator with 10,000 queued jobs: resident memory, and the time from kill -9 to a correct answer.

    python3 bench/many_jobs.py [--jobs 10000] [--rounds 5]

The clock runs from the kill: the process is started again at once, and ListJobs is asked until it answers (each try is
a new `trainyard list`, whose own start counts). Correct: the newest 500 ids in the same order as before, and every
job in the queue. Wanted: under 300 MiB, under 2 s.
"""

import argparse
import signal
import subprocess
import time
import urllib.request

from yard import BIN, QUICKSTART, ROOT, Yard, machine, need_quickstart_data, spread, wait_for


def resident_mib(pid):
    with open(f"/proc/{pid}/status") as status:
        return next(int(line.split()[1]) for line in status if line.startswith("VmRSS:")) / 1024


def newest(yard):
    """Ids of the newest 500 jobs; None while nobody answers."""
    result = yard.run("list", "--limit", 500, "-o", "name", check=False)
    return result.stdout.split() if result.returncode == 0 else None


def queue_length(yard, http):
    token = (yard.home / "tokens" / "scraper").read_text().strip()
    request = urllib.request.Request(f"http://{http}/metrics", headers={"Authorization": f"Bearer {token}"})
    with urllib.request.urlopen(request, timeout=10) as response:
        for line in response.read().decode().splitlines():
            if line.startswith("trainyard_queue_jobs"):
                return int(float(line.split()[-1]))
    raise SystemExit("error: the coordinator has no trainyard_queue_jobs")


def fill(yard, jobs):
    """Submits until `jobs` are queued, slowly enough for a busy machine."""
    rate = 200.0
    while (missing := jobs - queue_length(yard, yard.addresses()["http"])) > 0:
        subprocess.run([BIN / "bench_submit", "--home", yard.home, "--job", ROOT / "examples/jobs/shakespeare.yaml",
                        "--rate", str(rate), "--seconds", str(max(missing, 50) / rate), "--seed", str(missing)],
                       cwd=QUICKSTART, check=True, stdout=subprocess.DEVNULL)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--jobs", type=int, default=10_000)
    parser.add_argument("--rounds", type=int, default=5)
    arguments = parser.parse_args()
    need_quickstart_data()
    print(machine())
    with Yard() as yard:
        addresses = yard.start_coordinator()
        print(f"empty: {resident_mib(yard.process.pid):.0f} MiB resident")
        fill(yard, arguments.jobs)
        jobs = queue_length(yard, addresses["http"])
        print(f"{jobs} queued jobs: {resident_mib(yard.process.pid):.0f} MiB resident after submitting them")
        before, seconds, resident = newest(yard), [], []
        assert before is not None and len(before) == min(500, jobs)
        for _ in range(arguments.rounds):
            killed = time.monotonic()
            yard.process.send_signal(signal.SIGKILL)
            yard.process.wait()
            yard.start(BIN / "trainyard-coordinator", "--home", yard.home, "serve",
                       "--grpc", addresses["grpc"], "--http", addresses["http"])
            after = wait_for("an answer to ListJobs", lambda: newest(yard))
            seconds.append(time.monotonic() - killed)
            assert after == before, "the list after the restart is another one"
            assert queue_length(yard, addresses["http"]) == jobs
            resident.append(resident_mib(yard.process.pid))
        size = sum(p.stat().st_size for p in (yard.home / "coordinator").glob("trainyard.db*")) / 2**20
        print(f"kill -9 to a correct ListJobs   s    {spread(seconds)}")
        print(f"resident after the restart      MiB  {spread(resident, 0)}")
        print(f"database                        MiB  {size:.0f}")


main()
