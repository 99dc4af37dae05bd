"""What the measurements share: the machine in words, a coordinator or cluster of their own, medians with spread."""

import csv
import io
import json
import os
import pathlib
import platform
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import time

ROOT = pathlib.Path(__file__).resolve().parents[1]
BUILD = pathlib.Path(os.environ.get("TRAINYARD_BUILD", ROOT / "build")).resolve()
BIN = BUILD / "bin"
QUICKSTART = BUILD / "quickstart"  # where scripts/quickstart puts its data


def machine():
    """One line: processor, cores, what it multiplies with, memory, kernel, versions."""
    info = pathlib.Path("/proc/cpuinfo").read_text()
    values = {k.strip(): v.strip() for k, _, v in (line.partition(":") for line in info.splitlines())}
    flags = values.get("flags", "").split()
    has = [name for flag, name in (("avx2", "AVX2"), ("avx512f", "AVX-512"), ("avx512_bf16", "AVX-512 BF16"),
                                   ("amx_bf16", "AMX bf16")) if flag in flags]
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    commit = subprocess.run(["git", "-C", ROOT, "rev-parse", "--short", "HEAD"], capture_output=True, text=True)
    return (f"machine: {values.get('model name', 'unknown')} (model {values.get('model', '?')}), "
            f"{os.cpu_count()} cores, {', '.join(has) or 'no vector flags'}; "
            f"{memory:.0f} GiB; Linux {platform.release()}; LibTorch 2.11.0; commit {commit.stdout.strip() or 'unknown'}")


def spread(values, digits=2):
    """"median (least to most, of n)"."""
    return (f"{statistics.median(values):.{digits}f} ({min(values):.{digits}f} to {max(values):.{digits}f}, "
            f"of {len(values)})")


def wait_for(what, condition, seconds=60.0, period=0.02):
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        value = condition()
        if value:
            return value
        time.sleep(period)
    sys.exit(f"error: after {seconds:.0f} s still not: {what}")


def need_quickstart_data():
    if not (QUICKSTART / "data/shakespeare/.complete").exists():
        sys.exit(f"error: no data in {QUICKSTART}; run scripts/quickstart once")


class Yard:
    """Programs on a home of their own, which is deleted at the end."""

    def __enter__(self):
        signal.signal(signal.SIGTERM, lambda *_: sys.exit("stopped"))  # so that __exit__ cleans up
        self.home = pathlib.Path(tempfile.mkdtemp(prefix="trainyard-bench-"))
        self.environment = dict(os.environ, TRAINYARD_HOME=str(self.home), NO_COLOR="1")
        self.process = None
        return self

    def __exit__(self, *unused):
        if self.process is not None and self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
            self.process.wait(90)
        shutil.rmtree(self.home)

    def start(self, *words):
        with open(self.home / "bench.log", "ab") as log:
            self.process = subprocess.Popen([str(w) for w in words], env=self.environment, stdout=log, stderr=log)
        return self.process

    def addresses(self):
        """Of the coordinator that runs now; None until it has written them."""
        if self.process.poll() is not None:
            sys.exit(f"error: it did not start:\n{(self.home / 'bench.log').read_text()}")
        path = self.home / "coordinator" / "addresses.json"
        return json.loads(path.read_text()) if path.exists() else None

    def start_coordinator(self, grpc="127.0.0.1:0", http="127.0.0.1:0"):
        self.start(BIN / "trainyard-coordinator", "--home", self.home, "serve", "--grpc", grpc, "--http", http)
        return wait_for("the coordinator's addresses",
                        lambda: (a := self.addresses()) and a["pid"] == self.process.pid and a)

    def start_cluster(self, workers):
        self.start(BIN / "trainyard", "up", "--workers", workers, "--grpc-port", 0, "--http-port", 0)
        wait_for("all workers", lambda: self.addresses() and
                 len(self.run("worker", "list", "-o", "name", check=False).stdout.split()) >= workers)

    def run(self, *words, check=True, cwd=None):
        result = subprocess.run([BIN / "trainyard", *map(str, words)], env=self.environment, cwd=cwd,
                                capture_output=True, text=True)
        if check and result.returncode != 0:
            sys.exit(f"error: trainyard {' '.join(map(str, words))}: {result.stderr}")
        return result

    def train(self, *settings):
        """Runs the quickstart's job with `settings` over it; its id, once it has succeeded."""
        words = [w for s in settings for w in ("--set", s)]
        job = self.run("submit", ROOT / "examples/jobs/shakespeare.yaml", *words, "--no-wait", cwd=QUICKSTART)
        self.run("wait", job.stdout.strip())
        return job.stdout.strip()

    def points(self, job, *names):
        """{name: {step: value}} of a job's metrics."""
        words = [w for n in names for w in ("--metric", n)]
        found = {}
        for row in csv.DictReader(io.StringIO(self.run("metrics", "export", job, "--csv", "-", *words).stdout)):
            found.setdefault(row["name"], {})[int(row["step"])] = float(row["value"])
        return found
