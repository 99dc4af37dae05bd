"""Two hosts, as the kernel lets one machine play them: two network namespaces joined by a veth pair, each with its own
process ids and /proc. The ranks of a job must go over TCP, and end with the weights of ranks that share memory."""

import itertools
import os
import shutil
import signal
import subprocess

import pytest
from cluster import BIN, Cluster, wait_for

numbers = itertools.count()


class Hosts:
    """Namespaces `a` and `b`, at 10.213.0.1 and 10.213.0.2 of a network of their own; removed at the end."""
    addresses = {"a": "10.213.0.1", "b": "10.213.0.2"}

    def __init__(self):
        mark = f"ty{os.getpid()}x{next(numbers)}"
        self.names = {host: f"{mark}{host}" for host in self.addresses}

    def ip(self, *words):
        return subprocess.run(["ip", *words], check=True, capture_output=True, text=True)

    def __enter__(self):
        try:
            for name in self.names.values():
                self.ip("netns", "add", name)
            self.ip("link", "add", "ty0", "netns", self.names["a"], "type", "veth", "peer", "name", "ty0", "netns",
                    self.names["b"])
            for host, name in self.names.items():
                self.ip("-n", name, "address", "add", f"{self.addresses[host]}/24", "dev", "ty0")
                for device in ("lo", "ty0"):
                    self.ip("-n", name, "link", "set", device, "up")
        except subprocess.CalledProcessError as error:
            self.__exit__(None, None, None)
            pytest.skip(f"no network namespaces here: {error.stderr.strip()}")
        return self

    def __exit__(self, kind, value, trace):
        for name in self.names.values():
            subprocess.run(["ip", "netns", "delete", name], check=False, capture_output=True)

    def cable(self, state):
        """Plugs (up) or unplugs (down) what is between the hosts."""
        self.ip("-n", self.names["a"], "link", "set", "ty0", state)

    def inside(self, host):
        """What to put before a command to run it on this host."""
        return ["ip", "netns", "exec", self.names[host]]


class TwoHosts(Cluster):
    """Coordinator, worker-0 and command line on host a; worker-1 on host b."""

    def __init__(self, home, hosts):
        super().__init__(home, workers=2)
        self.hosts, self.daemons = hosts, []

    def start(self, host, program, *words):
        alone = ["unshare", "--pid", "--fork", "--kill-child", "--mount-proc"] if program == "trainyard-worker" else []
        log = open(self.home / f"{program}-{host}.log", "wb")
        self.daemons.append(subprocess.Popen(
            [str(w) for w in (*self.hosts.inside(host), *alone, BIN / program, *words)],
            stdout=log, stderr=log, env=self.environment))
        log.close()

    def start_worker(self, name, host, coordinator):
        self.start(host, "trainyard-worker", "--id", name, "--coordinator", coordinator, "--token-file",
                   self.home / "tokens/worker", "--home", self.home / "worker" / name, "--blobs", self.home / "blobs",
                   "--http", "127.0.0.1:0", "--slots", "1", "--drain", "--insecure-i-understand",
                   "--bind-address", self.hosts.addresses[host])

    def __enter__(self):
        self.home.mkdir(parents=True)
        self.start("a", "trainyard-coordinator", "--home", self.home, "serve", "--grpc", "0.0.0.0:0", "--http",
                   "127.0.0.1:0", "--insecure-i-understand")
        wait_for("the coordinator's addresses", (self.home / "coordinator/addresses.json").exists)
        port = self.addresses["grpc"].rsplit(":", 1)[1]
        self.environment["TRAINYARD_COORDINATOR"] = f"127.0.0.1:{port}"
        self.start_worker("worker-0", "a", f"127.0.0.1:{port}")
        self.start_worker("worker-1", "b", f"{self.hosts.addresses['a']}:{port}")
        wait_for("both workers connected", self.all_connected)
        return self

    def all_connected(self):
        assert all(p.poll() is None for p in self.daemons), self.describe_logs()
        words = self.run("worker", "list", "-o", "json", check=False).stdout
        return words.count('"CONNECTED"') == 2

    def run(self, *words, check=True, timeout=120, cwd=None):
        result = subprocess.run([*self.hosts.inside("a"), str(BIN / "trainyard"), *map(str, words)],
                                env=self.environment, capture_output=True, text=True, timeout=timeout, cwd=cwd)
        assert not check or result.returncode == 0, f"{words}: exit {result.returncode}\n{result.stdout}{result.stderr}"
        return result

    def __exit__(self, kind, value, trace):
        for program in ("trainyard-worker", "trainyard-coordinator"):
            for pid in self.processes(program):
                os.kill(pid, signal.SIGTERM)
        for process in self.daemons:
            process.wait(30)
        if kind is not None:
            print(self.describe_logs())


@pytest.fixture
def hosts():
    if os.geteuid() != 0 or not shutil.which("ip") or not shutil.which("unshare"):
        pytest.skip("network namespaces need root, ip and unshare")
    with Hosts() as pair:
        yield pair


def train(cluster):
    job_id = cluster.submit(cluster.write_job(name="two", steps=30, ranks=2))
    cluster.wait_for_success(job_id)
    ranks = cluster.json("describe", job_id)["attempts"][0]["ranks"]
    assert {r["worker"] for r in ranks} == {"worker-0", "worker-1"}
    return cluster.weights_digest(job_id), cluster.run("logs", job_id).stdout


def test_ranks_of_two_hosts_give_the_weights_of_ranks_of_one(tmp_path, hosts):
    with TwoHosts(tmp_path / "two", hosts) as cluster:
        over_tcp, log = train(cluster)
        assert "peers_through=tcp" in log, log
        for address in hosts.addresses.values():
            assert f"listens={address}:" in log, log
    wait_for("no process is left", lambda: not cluster.all_processes(), 15)
    with Cluster(tmp_path / "one") as cluster:
        through_memory, log = train(cluster)
        assert "peers_through=shared_memory" in log, log
    assert over_tcp == through_memory


def test_a_job_outlives_a_cable_that_is_pulled(tmp_path, hosts):
    """No packet says that a host is gone: its worker's silence does, and a worker that is back is used again."""
    with TwoHosts(tmp_path / "two", hosts) as cluster:
        job_id = cluster.submit(cluster.write_job(name="cut", steps=1500, ranks=2, save_steps=100))
        cluster.wait_for_step(job_id, 150)
        hosts.cable("down")
        cluster.wait_for_state(job_id, "RECOVERING", seconds=60)
        hosts.cable("up")
        cluster.wait_for_success(job_id)
        first, second = cluster.json("describe", job_id)["attempts"]
        assert int(second["resumed_from_step"]) >= 100, (first, second)
        assert first["end_reason"] in ("WORKER_LOST", "PEER_LOST"), first
