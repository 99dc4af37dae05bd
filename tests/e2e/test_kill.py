"""kill -9 of each program at seeded moments: the job ends by itself with the same weights."""

import os
import random
import signal

import pytest
from cluster import wait_for

STEPS = 120
MOMENTS = int(os.environ.get("TRAINYARD_KILL_MOMENTS", "3"))  # ten when an issue is closed


def submit(cluster, name):
    return cluster.submit(cluster.write_job(name=name, steps=STEPS, save_steps=15, batch=16))


@pytest.fixture
def undisturbed(cluster):
    job_id = submit(cluster, "calm")
    cluster.wait_for_success(job_id)
    return cluster.weights_digest(job_id)


def kill_at_moments(cluster, program, undisturbed, seed):
    chance = random.Random(seed)
    for moment in range(MOMENTS):
        job_id = submit(cluster, f"killed-{moment}")
        cluster.wait_for_step(job_id, chance.randrange(1, STEPS - 10))
        victim = chance.choice(cluster.processes(program))
        os.kill(victim, signal.SIGKILL)
        cluster.wait_for_success(job_id)
        assert cluster.weights_digest(job_id) == undisturbed, f"moment {moment}"
        yield job_id


def test_a_killed_trainer_is_replaced_and_the_weights_are_the_same(cluster, undisturbed):
    for job_id in kill_at_moments(cluster, "trainyard-trainer", undisturbed, seed=1):
        job = cluster.json("describe", job_id)
        assert [a["number"] for a in job["attempts"]] == [1, 2]
        assert job["attempts"][0]["end_reason"] == "KILLED", job["attempts"]


def test_a_killed_agent_adopts_its_trainers(cluster, undisturbed):
    for job_id in kill_at_moments(cluster, "trainyard-worker", undisturbed, seed=2):
        assert len(cluster.json("describe", job_id)["attempts"]) == 1
        wait_for("both workers are back", cluster.all_connected)


def test_a_killed_coordinator_goes_on_where_it_was(cluster, undisturbed):
    for job_id in kill_at_moments(cluster, "trainyard-coordinator", undisturbed, seed=3):
        assert len(cluster.json("describe", job_id)["attempts"]) == 1
