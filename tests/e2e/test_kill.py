"""kill -9 of each program at seeded moments of a job's life: it ends by itself with the same weights, its
events say what happened, and nothing is left.

The moments are times since the submit, spread over the whole life of an undisturbed job: starting, training and
saving, finishing. TRAINYARD_KILL_MOMENTS says how many (three in CI, ten when an issue is closed),
TRAINYARD_KILL_SEED shifts them.
"""

import os
import random
import signal
import time

import pytest
from cluster import seconds_of, wait_for

STEPS = int(os.environ.get("TRAINYARD_KILL_STEPS", "300"))
BATCH = int(os.environ.get("TRAINYARD_KILL_BATCH", "64"))
MOMENTS = int(os.environ.get("TRAINYARD_KILL_MOMENTS", "3"))
SEED = int(os.environ.get("TRAINYARD_KILL_SEED", "0"))

calm = {}  # of the undisturbed job, which is the same in every test: its weights and its seconds


def submit(cluster, name):
    return cluster.submit(cluster.write_job(name=name, steps=STEPS, save_steps=15, batch=BATCH))


@pytest.fixture
def undisturbed(cluster):
    if not calm:
        begun = time.monotonic()
        job_id = submit(cluster, "calm")
        cluster.wait_for_success(job_id)
        calm.update(weights=cluster.weights_digest(job_id), seconds=time.monotonic() - begun)
        print(f"the undisturbed job took {calm['seconds']:.1f} s")
    return calm


class Killed:
    """One job, and what was killed beneath it."""
    def __init__(self, cluster, job_id, pid, trainers, at):
        self.cluster, self.job_id, self.pid, self.trainers, self.at = cluster, job_id, pid, trainers, at
        self.rank = next((key for key, p in trainers.items() if p == pid), None)  # (worker, rank)

    def read(self):
        self.events = self.cluster.events(self.job_id)
        self.attempts = self.cluster.json("describe", self.job_id)["attempts"]

    def has(self, kind, *words):
        """Whether an event of this type has all these words in its message."""
        return any(e["type"] == kind and all(w in e["message"] for w in words) for e in self.events)

    def story(self):
        return "\n".join(f"{e['time']} {e['type']} {e['message']}" for e in self.events)

    def was_training(self):
        """Whether the attempt of that time had begun, and had more to do than to end."""
        begun = [seconds_of(e["time"]) for e in self.events if e["type"] == "AttemptStarted"]
        ended = [seconds_of(e["time"]) for e in self.events if e["type"] in ("AttemptEnded", "RankExited")]
        return begun[0] < self.at - 0.1 and self.at + 1.0 < min(t for t in ended if t > begun[0])


class Left:
    """What is left of finished jobs; as a string, what was when it was looked at last."""
    def __init__(self, cluster):
        self.cluster, self.seen = cluster, []

    def is_empty(self):
        self.seen = [f"trainer {key} is {pid}" for key, pid in self.cluster.trainers().items()]
        self.seen += self.cluster.temporary_files()
        return not self.seen

    def __str__(self):
        return f"nothing of the job is left, but there is {self.seen}"


def kill_one(cluster, name, after, chance, choose):
    """Submits a job and kills somebody so many seconds later; None if the job had ended by then."""
    job_id = submit(cluster, name)
    begun = time.monotonic()

    def its_time():
        if cluster.job(job_id)["state"] == "SUCCEEDED":
            return "too late"
        if time.monotonic() - begun < after:
            return None
        trainers = cluster.trainers()
        pid = choose(trainers, chance)
        return pid and (pid, trainers)
    victim = wait_for("the moment, and somebody to kill", its_time, after + 30)
    if victim == "too late":
        return None
    pid, trainers = victim
    at = time.time()
    os.kill(pid, signal.SIGKILL)
    print(f"{name}: killed {pid} after {time.monotonic() - begun:.2f} s")
    cluster.wait_for_success(job_id)
    return Killed(cluster, job_id, pid, trainers, at)


def kill_at_moments(cluster, undisturbed, seed, choose):
    """Kills what `choose(trainers, chance)` says at each moment; None: nothing is there yet."""
    chance = random.Random(1000 * SEED + seed)
    for moment in range(MOMENTS):
        after, killed = chance.uniform(0, 0.95 * undisturbed["seconds"]), None
        while killed is None:  # jobs of one kind do not all take the same time
            killed = kill_one(cluster, f"killed-{moment}", after, chance, choose)
            after *= 0.7
        killed.read()
        assert cluster.weights_digest(killed.job_id) == undisturbed["weights"], (moment, killed.story())
        assert killed.has("JobStateChanged", "-> SUCCEEDED"), killed.story()
        wait_for("both workers are back", cluster.all_connected)
        left = Left(cluster)
        wait_for(left, left.is_empty, 15)
        yield killed


def test_a_killed_trainer_is_replaced_and_the_weights_are_the_same(cluster, undisturbed):
    def any_trainer(trainers, chance):
        return chance.choice(sorted(trainers.values())) if trainers else None
    for killed in kill_at_moments(cluster, undisturbed, 1, any_trainer):
        worker, rank = killed.rank
        if len(killed.attempts) == 1 and killed.has("RankExited", f"rank {rank} on {worker}: succeeded"):
            continue  # the signal came after its last word
        assert [a["number"] for a in killed.attempts] == [1, 2], killed.story()
        first, second = killed.attempts
        assert first["end_reason"] == "KILLED", killed.story()
        assert f"rank {rank} on {worker} was killed (signal 9)" in first["end_message"]
        assert killed.has("RankExited", f"rank {rank} on {worker}", "KILLED"), killed.story()
        assert killed.has("JobStateChanged", "-> RECOVERING", f"rank {rank} on {worker}"), killed.story()
        # It went on from the newest checkpoint that was recorded before.
        recorded = [int(e["message"].split()[3]) for e in killed.events
                    if e["type"] == "CheckpointCommitted" and e["attempt"] == 1]
        assert int(second["resumed_from_step"]) == max(recorded, default=-1), killed.story()
        assert killed.has("AttemptStarted", "attempt 2 starts"), killed.story()


def test_a_killed_agent_adopts_its_trainers(cluster, undisturbed):
    def any_agent(trainers, chance):
        pids = cluster.daemon_pids("trainyard-worker")
        return chance.choice(pids) if len(pids) == 2 else None
    for killed in kill_at_moments(cluster, undisturbed, 2, any_agent):
        assert len(killed.attempts) == 1, killed.story()
        if len(killed.trainers) == 2 and killed.was_training():
            assert killed.has("RanksAdopted", "goes on with rank"), killed.story()


def test_a_killed_coordinator_goes_on_where_it_was(cluster, undisturbed):
    def the_coordinator(trainers, chance):
        return next(iter(cluster.daemon_pids("trainyard-coordinator")), None)
    for killed in kill_at_moments(cluster, undisturbed, 3, the_coordinator):
        assert len(killed.attempts) == 1, killed.story()
        if killed.was_training():
            assert killed.has("CoordinatorRestarted", "attempt 1 goes on"), killed.story()
