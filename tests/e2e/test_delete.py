"""Jobs and checkpoints go when somebody says so, and what was removed by hand is called that."""

import os
import pty
import shutil
import signal
import subprocess

from cluster import BIN, wait_for


def folder(cluster, job, step):
    return next((cluster.home / "blobs/checkpoints" / job).glob(f"step-{step:08}-a*"))


def asked(cluster, answer, *words):
    """Runs the command on a terminal, on which `answer` is typed."""
    terminal, its_end = pty.openpty()
    os.write(terminal, answer.encode() + b"\n")
    done = subprocess.run([BIN / "trainyard", *words], env=cluster.environment, stdin=its_end, stdout=subprocess.PIPE,
                          stderr=its_end, text=True, timeout=60)
    os.close(its_end)
    shown = os.read(terminal, 1 << 16).decode()
    os.close(terminal)
    return done, shown


def test_jobs_and_checkpoints_are_deleted(cluster):
    done = cluster.submit(cluster.write_job(name="done", steps=30, save_steps=10))
    cluster.wait_for_success(done)
    # What was measured within the last second is told again.
    usage = wait_for("du has the job", lambda: (u := cluster.json("du")).get("jobs") and u)
    kinds = {k["kind"]: int(k.get("size_bytes", 0)) for k in usage["kinds"]}
    assert set(kinds) == {"checkpoints", "datasets", "prepared", "history", "database"}
    assert all(size > 0 for size in kinds.values()), kinds
    assert usage["jobs"] == [{"job_id": done, "checkpoints": "3", "size_bytes": str(kinds["checkpoints"])}]
    assert usage["complete"] and 0 < int(usage["free_bytes"]) < int(usage["disk_bytes"])
    table = cluster.run("du").stdout
    assert "datasets" in table and done in table and "free" in table

    # Nobody is there to be asked.
    for words in (["delete", done], ["checkpoint", "delete", f"{done}@10"]):
        refused = cluster.run(*words, check=False)
        assert refused.returncode == 2 and "pass --yes" in refused.stderr, refused
    # Somebody is, and says no.
    refused, shown = asked(cluster, "n", "delete", done)
    assert refused.returncode == 1 and "nothing was deleted" in shown
    assert f"job {done} (SUCCEEDED): 3 checkpoints" in shown
    assert cluster.checkpoint_steps(done) == [10, 20, 30]

    first = folder(cluster, done, 10)
    assert cluster.run("checkpoint", "delete", f"{done}@10", "--yes").stdout.startswith(f"deleted checkpoint {done}@10: ")
    assert cluster.checkpoint_steps(done) == [20, 30]
    wait_for("the folder is gone", lambda: not first.exists())
    refused = cluster.run("checkpoint", "delete", f"{done}@10", "--yes", check=False)
    assert refused.returncode == 3 and "checkpoint list" in refused.stderr
    assert cluster.run("checkpoint", "delete", done, "--yes", check=False).returncode == 2

    endless = cluster.submit(cluster.write_job(name="endless", steps=100000, save_steps=0))
    cluster.wait_for_step(endless, 5)
    refused = cluster.run("delete", done, endless, "--yes", check=False)
    assert refused.returncode == 6 and f"trainyard cancel {endless}" in refused.stderr
    assert refused.stdout.startswith(f"deleted job {done} (SUCCEEDED): 2 checkpoints")
    assert cluster.run("get", done, check=False).returncode == 3
    wait_for("its folder is gone", lambda: not (cluster.home / "blobs/checkpoints" / done).exists())
    wait_for("its curves are gone", lambda: not (cluster.home / "coordinator/history" / done).exists())
    assert (cluster.home / "coordinator/history" / endless).exists()

    cluster.run("cancel", endless, "--now")
    cluster.wait_for_state(endless, "CANCELLED")
    deleted, _ = asked(cluster, "y", "delete", endless, "-o", "name")
    assert deleted.returncode == 0 and deleted.stdout == f"{endless}\n"
    assert cluster.json("list").get("jobs", []) == []
    wait_for("du has no job", lambda: "jobs" not in cluster.json("du"))
    # The record of it is left.
    assert [e["type"] for e in cluster.json("events").get("events", []) if e.get("job_id") in (done, endless)] == ["JobDeleted"] * 2


def test_a_folder_that_was_removed_by_hand_is_called_that(cluster):
    job = cluster.submit(cluster.write_job(steps=100000, save_steps=50), "--set", "limits.max_attempts=1")
    wait_for("three checkpoints", lambda: len(cluster.checkpoint_steps(job)) >= 3, 60)
    refused = cluster.run("checkpoint", "delete", f"{job}@latest", "--yes", check=False)
    assert refused.returncode == 6 and "is its newest" in refused.stderr
    for pid in cluster.trainers().values():
        os.kill(pid, signal.SIGKILL)
    cluster.wait_for_state(job, "FAILED")
    *_, kept, newest = cluster.checkpoint_steps(job)
    shutil.rmtree(folder(cluster, job, newest))

    listed = cluster.run("checkpoint", "list", job).stdout.splitlines()
    assert [line.endswith("(removed by hand)") for line in listed] == [False] * (len(listed) - 1) + [True]
    said = f"checkpoint {newest} of {job}: its folder was removed by hand"
    for words in (["checkpoint", "describe", f"{job}@latest"],
                  ["checkpoint", "export", f"{job}@{newest}", "--to", cluster.home / "exported"]):
        refused = cluster.run(*words, check=False)
        assert refused.returncode == 1 and said in refused.stderr, refused
    verified = cluster.run("checkpoint", "verify", f"{job}@latest", check=False)
    assert verified.returncode == 1 and said in verified.stdout

    cluster.run("retry", job)
    wait_for(f"it goes on from step {kept}", lambda: cluster.json("describe", job)["attempts"][-1]["resumed_from_step"] == str(kept))
    cluster.wait_for_step(job, kept + 1)
    retried = [e["message"] for e in cluster.events(job) if "retried by" in e["message"]]
    assert len(retried) == 1 and f"from step {kept} (checkpoint {newest}: its folder was removed by hand)" in retried[0]
    cluster.run("cancel", job, "--now")
    cluster.wait_for_state(job, "CANCELLED")
    # A record without its folder can be deleted like any other.
    gone = cluster.checkpoint_steps(job)[0]
    shutil.rmtree(folder(cluster, job, gone))
    assert "removed by hand" in cluster.run("checkpoint", "delete", f"{job}@{gone}", "--yes").stdout
    assert gone not in cluster.checkpoint_steps(job)
