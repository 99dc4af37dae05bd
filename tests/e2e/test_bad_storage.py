"""Disks that fill up, bytes that change: named, survived, and the model is the same."""

import json
import os
import signal
import subprocess

import pytest
from cluster import Cluster, wait_for


def flip_a_byte(path):
    with open(path, "r+b") as file:
        file.seek(path.stat().st_size // 2)
        byte = file.read(1)[0]
        file.seek(-1, os.SEEK_CUR)
        file.write(bytes([byte ^ 0x10]))


def cut_short(path):
    os.truncate(path, path.stat().st_size // 2)


@pytest.fixture
def small_disk(tmp_path):
    """A home whose blobs lie on a disk of 96 MB: room for all checkpoints of the test's job."""
    blobs = tmp_path / "home" / "blobs"
    blobs.mkdir(parents=True, mode=0o700)
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=96m,mode=700", "trainyard-test", blobs],
                             capture_output=True, text=True)
    if mounted.returncode != 0:
        pytest.skip(f"a small disk cannot be mounted here: {mounted.stderr.strip()}")
    yield tmp_path / "home"
    subprocess.run(["umount", "-l", blobs], check=True)


def fill(path):
    """Writes until nothing more fits."""
    with open(path, "wb", buffering=0) as file:
        for size in (1 << 16, 1 << 12):
            try:
                while True:
                    file.write(b"\0" * size)
            except OSError:
                pass


def test_a_full_disk_costs_checkpoints_but_not_the_job(small_disk):
    with Cluster(small_disk) as cluster:
        job_id = cluster.submit(cluster.write_job(steps=600, save_steps=25, batch=16))
        first = wait_for("a checkpoint", lambda: cluster.checkpoint_steps(job_id), 60)[0]
        filler = small_disk / "blobs" / "filler"
        fill(filler)

        def failed():
            return [e for e in cluster.events(job_id) if e["type"] == "CheckpointFailed"]
        event = wait_for("an event says that a checkpoint could not be written", failed, 60)[0]
        assert "No space left" in event["message"] and "the job goes on" in event["message"], event
        step = int(cluster.job(job_id)["step"])
        cluster.wait_for_step(job_id, step + 10)
        assert cluster.run("checkpoint", "verify", f"{job_id}@{first}").stdout.startswith("intact")
        filler.unlink()
        cluster.wait_for_success(job_id)
        assert cluster.run("checkpoint", "verify", f"{job_id}@latest").stdout.startswith("intact")
        described = cluster.json("describe", job_id)
        assert len(described["attempts"]) == 1, described["attempts"]
        assert not cluster.temporary_files()


def long_steps(cluster, name):
    """A job whose checkpoints lie so far apart that a test can act in between."""
    return cluster.submit(cluster.write_job(name=name, steps=240, save_steps=80, batch=48))


@pytest.mark.parametrize("damage", [flip_a_byte, cut_short])
def test_a_damaged_checkpoint_is_refused_by_name_and_the_one_before_used(cluster, damage):
    calm = long_steps(cluster, "calm")
    cluster.wait_for_success(calm)
    job_id = long_steps(cluster, "damaged")
    wait_for("two checkpoints", lambda: cluster.checkpoint_steps(job_id) == [80, 160], 120)
    folder = cluster.home / "blobs" / "checkpoints" / job_id / "step-00000160-a1"
    damage(folder / "model.safetensors")
    os.kill(cluster.trainers()["worker-0", 0], signal.SIGKILL)
    cluster.wait_for_success(job_id)
    attempts = cluster.json("describe", job_id)["attempts"]
    assert [int(a["resumed_from_step"]) for a in attempts] == [-1, 160, 80], attempts
    assert attempts[1]["end_reason"] == "CHECKPOINT_DAMAGED", attempts[1]
    assert "step-00000160-a1" in attempts[1]["end_message"] and "model.safetensors" in attempts[1]["end_message"]
    dropped = next(e for e in cluster.events(job_id) if e["type"] == "CheckpointDeleted")
    assert json.loads(dropped["payload_json"])["step"] == 160, dropped
    assert cluster.weights_digest(job_id) == cluster.weights_digest(calm)


def test_a_flipped_token_shard_is_refused_by_name_and_made_anew(cluster):
    first = cluster.submit(cluster.write_job(name="first", steps=20))
    cluster.wait_for_success(first)
    shard = next((cluster.home / "blobs" / "prepared").glob("*/train*"))
    intact = shard.read_bytes()
    flip_a_byte(shard)
    again = cluster.submit(cluster.write_job(name="again", steps=20))
    cluster.wait_for_success(again)
    log = cluster.run("logs", again, "--rank", "0").stdout
    complaint = next(line for line in log.splitlines() if "preparing the data again" in line)
    assert shard.name in complaint, complaint
    assert shard.read_bytes() == intact
    assert cluster.weights_digest(again) == cluster.weights_digest(first)


def test_a_missing_and_an_empty_file_are_refused_at_once(cluster):
    text = cluster.home / "nothing.txt"
    job_file = cluster.write_job(name="nothing", text=text)
    missing = cluster.run("submit", job_file, "--no-wait", check=False)
    assert missing.returncode in (1, 2, 3) and "nothing.txt" in missing.stderr, missing
    text.touch()
    empty = cluster.run("submit", job_file, "--no-wait", check=False)
    assert empty.returncode in (1, 2) and "nothing.txt is empty" in empty.stderr, empty
    assert not cluster.json("list").get("jobs")


def test_a_checkpoint_folder_without_files_goes_with_its_job(cluster):
    """A writer killed between making the folder and its first file leaves one, which nothing records."""
    job_id = cluster.submit(cluster.write_job(steps=300, save_steps=50, batch=32))
    cluster.wait_for_step(job_id, 5)
    torn = cluster.home / "blobs/checkpoints" / job_id / "step-00000007-a1"
    (torn / "trainyard").mkdir(parents=True)
    cluster.wait_for_success(job_id)
    wait_for("the folder is gone", lambda: not torn.exists(), 15)
    assert any((torn.parent / name / "config.json").exists() for name in os.listdir(torn.parent))
