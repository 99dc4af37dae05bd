"""A stopped rank is named and replaced; cancel frees the slots in time, whatever it finds."""

import json
import os
import random
import re
import signal
import time

from cluster import seconds_of, wait_for


def trains(cluster, job_id, attempt, step):
    job = cluster.job(job_id)
    return job["state"] == "RUNNING" and job["attempt"] == attempt and int(job.get("step", 0)) >= step


def standing_step(cluster, job_id):
    """The job's step if it is the same two seconds later, in which two reports have come."""
    before = int(cluster.job(job_id).get("step", 0))
    time.sleep(2)
    return before if int(cluster.job(job_id).get("step", 0)) == before else 0


def test_a_stopped_rank_is_named_and_the_attempt_replaced(cluster):
    job_id = cluster.submit(cluster.write_job(steps=600, save_steps=50, batch=32))
    for number, rank in ((1, 1), (2, 0)):  # the one that writes checkpoints, and another
        wait_for(f"attempt {number} trains", lambda: trains(cluster, job_id, number, 25 * number), 60)
        (worker, _), victim = next((k, p) for k, p in cluster.trainers().items() if k[1] == rank)
        os.kill(victim, signal.SIGSTOP)
        stopped = time.time()
        stands = wait_for("the job to stand still", lambda: standing_step(cluster, job_id))

        def hung_event():
            return next((e for e in cluster.events(job_id)
                         if e["type"] == "RankHung" and e["attempt"] == number), None)
        hung = wait_for("the hung rank is an event", hung_event, 30)
        step, deadline = map(int, re.search(r"at step (\d+) .* the deadline of a step is (\d+) s",
                                            hung["message"]).groups())
        # max(15 s, 6 x p99 of a step), counted from the signal to the verdict.
        assert deadline >= 15 and seconds_of(hung["time"]) - stopped <= deadline, (hung, stopped)
        # People ask `explain`: it names the right rank and the step at which it stands.
        named = f"rank {rank} on {worker} made no progress"
        explained = cluster.run("explain", job_id).stdout
        assert named in explained and f"at step {step}" in explained, explained
        payload = json.loads(hung["payload_json"])
        assert (payload["rank"], payload["step"]) == (rank, step), payload
        assert step <= stands <= step + 1, (step, stands)  # the others may have done one more
        wait_for("the next attempt trains", lambda: trains(cluster, job_id, number + 1, 0), 60)
        wait_for("the stopped process is gone", lambda: victim not in cluster.processes("trainyard-trainer"), 10)
        attempts = cluster.json("describe", job_id)["attempts"]
        assert attempts[number - 1]["end_reason"] == "RANK_HUNG", attempts
        assert named in attempts[number - 1]["end_message"], attempts
    cluster.wait_for_success(job_id, 240)


def cancelled_in(cluster, job_id):
    """What the cancel found, as the events say: the job's state, and what its ranks were doing."""
    event = next(e for e in cluster.events(job_id)
                 if e["type"] == "JobStateChanged" and json.loads(e["payload_json"])["to"] in ("CANCELLING", "CANCELLED"))
    payload = json.loads(event["payload_json"])
    return payload["from"], payload["phases"]


def phases(cluster, job_id):
    attempts = cluster.json("describe", job_id).get("attempts", [])
    return [r.get("phase", "") for r in attempts[-1]["ranks"]] if attempts else []


def cancel_while(cluster, name, chance, what):
    """Submits a job and cancels it at once while it does `what`; false if the moment was missed."""
    # A model whose checkpoint takes longer than its steps, so that it can be met while saving.
    job_file = cluster.write_job(name=name, steps=4000, save_steps=1 if what == "saving" else 200)
    if what == "saving":
        job_file.write_text(job_file.read_text().replace("hidden_size: 64", "hidden_size: 256")
                            .replace("intermediate_size: 128", "intermediate_size: 768")
                            .replace("save_total_limit: 50", "save_total_limit: 2"))
    job_id = cluster.submit(job_file)
    if what == "starting":
        time.sleep(chance.uniform(0.0, 1.5))
    elif what == "training":
        cluster.wait_for_step(job_id, chance.randrange(1, 60))
    else:
        cluster.wait_for_step(job_id, chance.randrange(1, 6))
        wait_for("a rank saves", lambda: "saving" in phases(cluster, job_id))
    begun = time.monotonic()
    cluster.run("cancel", job_id, "--now")
    cluster.wait_for_state(job_id, "CANCELLED", seconds=10)

    def free():
        workers = cluster.json("worker", "list")["workers"]
        return not any(s.get("used_share", 0) for w in workers for s in w["slots"]) \
            and not cluster.processes("trainyard-trainer")
    wait_for("slots free and trainers gone", free, 10 - (time.monotonic() - begun))
    wait_for("nothing of the job is left", lambda: not cluster.temporary_files(), 15)
    state, found = cancelled_in(cluster, job_id)
    print(f"{name}: cancelled in {state} {found}, free after {time.monotonic() - begun:.2f} s")
    return {"starting": state in ("QUEUED", "STARTING"),
            "training": state == "RUNNING",
            "saving": state == "RUNNING" and "saving" in found}[what]


def test_cancel_frees_the_slots_within_ten_seconds(cluster):
    chance = random.Random(int(os.environ.get("TRAINYARD_CANCEL_SEED", "5")))
    hit = {"starting": 0, "training": 0, "saving": 0}
    wanted = int(os.environ.get("TRAINYARD_CANCELS", "5"))
    for i in range(wanted):
        what = list(hit)[i % 3]
        for attempt in range(8):  # until the moment was met
            if cancel_while(cluster, f"cancel-{i}-{attempt}", chance, what):
                hit[what] += 1
                break
    assert sum(hit.values()) == wanted and min(hit.values()) >= wanted // 3, hit


def test_cancel_records_a_checkpoint_of_the_last_finished_step_and_now_does_not(cluster):
    kept = cluster.submit(cluster.write_job(name="kept", steps=100_000, save_steps=0))
    step = int(cluster.wait_for_step(kept, 5) and cluster.job(kept)["step"])
    cluster.run("cancel", kept)
    job = cluster.wait_for_state(kept, "CANCELLED", seconds=30)
    steps = cluster.checkpoint_steps(kept)
    assert len(steps) == 1 and steps[0] >= step, (steps, step)
    assert f"the checkpoint of step {steps[0]} is recorded" in job["message"], job
    assert cluster.run("checkpoint", "verify", f"{kept}@{steps[0]}").stdout.startswith("intact")
    # What the trainers did last is what is kept.
    assert max(int(r.get("step", 0)) for r in cluster.json("describe", kept)["attempts"][-1]["ranks"]) <= steps[0]

    dropped = cluster.submit(cluster.write_job(name="dropped", steps=100_000, save_steps=0))
    cluster.wait_for_step(dropped, 5)
    cluster.run("cancel", dropped, "--now")
    cluster.wait_for_state(dropped, "CANCELLED", seconds=10)
    assert cluster.checkpoint_steps(dropped) == []
