"""A whole Trainyard cluster for a test: its own home, loopback, free ports, stopped at the end."""

import calendar
import hashlib
import json
import os
import pathlib
import re
import signal
import stat
import subprocess
import tempfile
import time

BUILD = pathlib.Path(os.environ.get("TRAINYARD_BUILD_DIR", "build")).resolve()
BIN = BUILD / "bin"

JOB = """\
version: 1
name: {name}
kind: pretrain
model: {{config: {{model_type: llama, hidden_size: 64, num_hidden_layers: 2, num_attention_heads: 2,
                  intermediate_size: 128, max_position_embeddings: 128}}}}
tokenizer: {{train: {{vocab_size: 300}}}}
data:
  train: [{{path: {text}, format: text}}]
  validation: [{{path: {text}, format: text}}]
train:
  max_steps: {steps}
  global_batch_size: {batch}
  max_length: 64
  learning_rate: 1.0e-3
  precision: fp32
  seed: 7
resources: {{ranks: {ranks}}}
checkpoint: {{save_steps: {save_steps}, save_total_limit: 50}}
evaluation: {{eval_steps: {eval_steps}, max_rows: 16}}
"""


def wait_for(what, condition, seconds=30.0):
    """Polls `condition` until it returns something true; fails naming `what`."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        value = condition()
        if value:
            return value
        time.sleep(0.05)
    raise AssertionError(f"after {seconds} s still not: {what}")


class Cluster:
    def __init__(self, home: pathlib.Path, workers=2, programs=BIN):
        self.home, self.workers, self.programs = home, workers, programs
        self.environment = dict(os.environ, TRAINYARD_HOME=str(home), NO_COLOR="1")
        for key in ("TRAINYARD_COORDINATOR", "TRAINYARD_TOKEN_FILE"):
            self.environment.pop(key, None)

    def __enter__(self):
        self.home.mkdir(parents=True, exist_ok=True)
        self.log = open(self.home / "up.log", "wb")
        self.up = subprocess.Popen(
            [self.programs / "trainyard", "up", "--workers", str(self.workers), "--grpc-port", "0", "--http-port", "0"],
            env=self.environment, stdout=self.log, stderr=self.log, start_new_session=True)
        wait_for("all workers connected", self.all_connected)
        return self

    def __exit__(self, kind, value, trace):
        self.up.send_signal(signal.SIGTERM)
        try:
            self.up.wait(30)
        except subprocess.TimeoutExpired:
            self.up.send_signal(signal.SIGTERM)
            self.up.wait(30)
        self.log.close()
        if kind is not None:
            print(self.describe_logs())

    def describe_logs(self):
        texts = [f"==== {p}\n{p.read_text(errors='replace')[-4000:]}"
                 for p in sorted(self.home.glob("**/*log")) if p.is_file()]
        return "\n".join(texts)

    def all_connected(self):
        assert self.up.poll() is None, (self.home / "up.log").read_text()
        result = self.run("worker", "list", "-o", "json", check=False)
        if result.returncode != 0:
            return False
        workers = json.loads(result.stdout).get("workers", [])
        return sum(w["state"] == "CONNECTED" for w in workers) >= self.workers

    def run(self, *words, check=True, timeout=120, cwd=None):
        result = subprocess.run([str(self.programs / "trainyard"), *map(str, words)], env=self.environment,
                                capture_output=True, text=True, timeout=timeout, cwd=cwd)
        assert not check or result.returncode == 0, f"{words}: exit {result.returncode}\n{result.stdout}{result.stderr}"
        return result

    def json(self, *words):
        return json.loads(self.run(*words, "-o", "json").stdout)

    @property
    def addresses(self):
        return json.loads((self.home / "coordinator" / "addresses.json").read_text())

    def token(self, kind="client"):
        return (self.home / "tokens" / kind).read_text().strip()

    def write_job(self, name="tiny", steps=60, ranks=2, batch=8, save_steps=10, eval_steps=0, text=None):
        text = text or self.sample_text()
        path = self.home / f"{name}.yaml"
        path.write_text(JOB.format(name=name, steps=steps, ranks=ranks, batch=batch,
                                   save_steps=save_steps, eval_steps=eval_steps, text=text))
        return path

    def sample_text(self):
        """120 kB of text with structure to learn, the same every time."""
        path = self.home / "text.txt"
        if not path.exists():
            words = "the quick brown fox jumps over a lazy dog while seven wizards box by night".split()
            lines, state = [], 12345
            for _ in range(2200):
                line = []
                for _ in range(11):
                    state = (state * 1103515245 + 12345) % 2**31
                    line.append(words[(state >> 16) % len(words)])
                lines.append(" ".join(line) + ".\n")
            path.write_text("".join(lines))
        return path

    def submit(self, job_file, *options):
        return self.run("submit", job_file, "--no-wait", *options).stdout.strip()

    def job(self, job_id):
        """The job, or None while the coordinator is away (exit 5)."""
        result = self.run("get", job_id, "-o", "json", check=False)
        assert result.returncode in (0, 5), result.stderr
        return json.loads(result.stdout) if result.returncode == 0 else None

    def wait_for_state(self, job_id, *states, seconds=60):
        return wait_for(f"{job_id} in {states}",
                        lambda: (j := self.job(job_id)) and j["state"] in states and j, seconds)

    def wait_for_step(self, job_id, step, seconds=60):
        def reached():
            job = self.job(job_id)
            if job is None:
                return False
            assert job["state"] not in ("FAILED", "CANCELLED"), job
            return int(job.get("step", 0)) >= step
        return wait_for(f"{job_id} at step {step}", reached, seconds)

    def wait_for_success(self, job_id, seconds=120):
        job = self.wait_for_state(job_id, "SUCCEEDED", "FAILED", "CANCELLED", seconds=seconds)
        assert job["state"] == "SUCCEEDED", (job, self.run("explain", job_id).stdout)
        return job

    def weights_digest(self, job_id):
        files = self.json("checkpoint", "describe", f"{job_id}@latest")["files"]
        return {f["path"]: f["sha256"] for f in files}["model.safetensors"]

    def processes(self, program):
        """Pids of `program` that belong to this cluster (its home is on their command line)."""
        found = []
        for entry in pathlib.Path("/proc").iterdir():
            if not entry.name.isdigit():
                continue
            try:
                words = (entry / "cmdline").read_bytes().split(b"\0")
                state = (entry / "stat").read_text().rsplit(")", 1)[1].split()[0]
            except (FileNotFoundError, ProcessLookupError, PermissionError):
                continue
            if state != "Z" and words[0].endswith(program.encode()) and any(str(self.home).encode() in w for w in words):
                found.append(int(entry.name))
        return sorted(found)

    def all_processes(self):
        return [p for name in ("trainyard-coordinator", "trainyard-worker", "trainyard-trainer")
                for p in self.processes(name)]

    def daemon_pids(self, program):
        """Those of `program` that `up` itself started: not a child on its way to become a trainer."""
        return [p for p in self.processes(program) if parent_of(p) == self.up.pid]

    def trainers(self):
        """{(worker, rank): pid} of the living trainers, from the folder on their command line."""
        found = {}
        for pid in self.processes("trainyard-trainer"):
            try:
                words = pathlib.Path(f"/proc/{pid}/cmdline").read_bytes().decode().split("\0")
            except (FileNotFoundError, ProcessLookupError):
                continue
            folder = pathlib.Path(next(w for w in words if w.endswith("/spec.json"))).parent
            found[folder.parent.parent.name, int(folder.name.rsplit("-r", 1)[1])] = pid
        return found

    def events(self, job_id):
        return self.json("events", job_id).get("events", [])

    def event_types(self, job_id):
        return [e["type"] for e in self.events(job_id)]

    def checkpoint_steps(self, job_id):
        return [int(c["step"]) for c in self.json("checkpoint", "list", job_id).get("checkpoints", [])]

    def note_places(self):
        """Remembers where the cluster lives outside of its home: ports, and folders of sockets."""
        self.ports = set().union(*[listening_ports(p) for p in self.all_processes()])
        self.socket_folders = []
        for job in self.json("list", "--limit", "1000").get("jobs", []):
            for attempt in self.json("describe", job["job_id"]).get("attempts", []):
                for rank in attempt["ranks"]:
                    folder = self.home / "worker" / rank["worker"] / "ranks" / \
                        f"{job['job_id']}-a{attempt['number']}-r{rank.get('rank', 0)}"
                    digest = hashlib.sha256(str(folder).encode()).hexdigest()[:16]
                    self.socket_folders.append(pathlib.Path(tempfile.gettempdir()) / f"trainyard-{digest}")

    def files(self):
        """Every path below the home, as parts; os.walk passes over what vanishes meanwhile."""
        for folder, folders, names in os.walk(self.home):
            for name in folders + names:
                yield pathlib.Path(folder, name).relative_to(self.home)

    def temporary_files(self):
        """What no finished job needs: unfinished files, journals and sockets of ranks, torn checkpoints."""
        unfinished = re.compile(r"(^|.*/)[^/]*\.(tmp|part)-[^/]*$|blobs/\.side/[^/]+$|worker/[^/]+/(ranks|aside)/[^/]+$")
        checkpoint = re.compile(r"blobs/checkpoints/[^/]+/step-[^/]+$")
        left = []
        for path in self.files():
            torn = checkpoint.match(str(path)) and not (self.home / path / "trainyard/manifest.json").exists()
            if unfinished.match(str(path)) or torn or is_socket_or_pipe(self.home / path):
                left.append(self.home / path)
        # A checkpoint that is being deleted looks torn until it is gone.
        return sorted(str(path) for path in left if path.exists())

    def leftovers(self):
        """After the end: what should not be there any more."""
        left = [f"process {p}" for p in self.all_processes()]
        left += [f"port {p}" for p in self.ports & listening_ports()]
        left += [str(p) for p in self.socket_folders if p.exists()]
        return left + self.temporary_files()


def is_socket_or_pipe(path):
    try:
        mode = path.lstat().st_mode
    except FileNotFoundError:
        return False
    return stat.S_ISSOCK(mode) or stat.S_ISFIFO(mode)


def shared_memory_names():
    return {p.name for p in pathlib.Path("/dev/shm").iterdir() if re.match("trainyard|torch", p.name)}


def parent_of(pid):
    try:
        return int(pathlib.Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[1])
    except (FileNotFoundError, ProcessLookupError):
        return 0


def listening_ports(pid=None):
    """TCP ports that this process listens on; without one, that anybody does."""
    ports = {}
    for table in ("tcp", "tcp6"):
        for line in pathlib.Path(f"/proc/net/{table}").read_text().splitlines()[1:]:
            words = line.split()
            if words[3] == "0A":  # LISTEN
                ports[words[9]] = int(words[1].rsplit(":", 1)[1], 16)
    if pid is None:
        return set(ports.values())
    found = set()
    try:
        for descriptor in pathlib.Path(f"/proc/{pid}/fd").iterdir():
            target = os.readlink(descriptor)
            if target.startswith("socket:[") and target[8:-1] in ports:
                found.add(ports[target[8:-1]])
    except (FileNotFoundError, ProcessLookupError):
        pass  # it has just ended
    return found


def seconds_of(time_text):
    """Of the time of an event, since 1970."""
    head, _, tail = time_text.rstrip("Z").partition(".")
    whole = calendar.timegm(time.strptime(head, "%Y-%m-%dT%H:%M:%S"))
    return whole + float("0." + (tail or "0"))
