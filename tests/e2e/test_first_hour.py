"""What a newcomer does in the first hour besides training: stops, starts again, looks, tidies up."""

import os
import signal
import subprocess

from cluster import Cluster, listening_ports, wait_for


def end(cluster, job_id):
    """A worker that is told to stop before the coordinator knows of a rank's end keeps its files for the next start."""
    cluster.run("cancel", job_id, "--now")
    cluster.wait_for_state(job_id, "CANCELLED")
    wait_for("nothing of the job is left", lambda: not cluster.trainers() and not cluster.temporary_files(), 20)


def test_a_list_shows_step_and_loss_also_after_the_coordinator_started_again(cluster):
    job_id = cluster.submit(cluster.write_job(steps=100_000, save_steps=0))
    cluster.wait_for_step(job_id, 5)

    def listed():
        return next(j for j in cluster.json("list")["jobs"] if j["job_id"] == job_id)
    before = wait_for("a loss", lambda: (j := listed()).get("latest_metrics", {}).get("loss") and j)
    assert int(before["step"]) > 0
    os.kill(cluster.daemon_pids("trainyard-coordinator")[0], signal.SIGKILL)
    answers = wait_for("the coordinator is back", lambda: cluster.run("list", "-o", "json", check=False).returncode == 0, 20)
    assert answers
    after = listed()  # the very first answer knows it
    assert int(after["step"]) >= int(before["step"]) and after["latest_metrics"]["loss"] > 0, (before, after)
    end(cluster, job_id)


def test_workers_keep_their_http_ports_over_a_restart(cluster):
    ports = {int(w["http_address"].rsplit(":", 1)[1]) for w in cluster.json("worker", "list")["workers"]}
    before = cluster.daemon_pids("trainyard-worker")
    for pid in before:
        os.kill(pid, signal.SIGKILL)

    def listening():
        pids = [p for p in cluster.daemon_pids("trainyard-worker") if p not in before]
        return set().union(*[listening_ports(p) for p in pids]) if len(pids) == 2 else set()
    wait_for("both listen where they did", lambda: listening() == ports, 20)


def test_a_second_up_says_who_holds_the_home_and_a_hangup_drains(tmp_path):
    with Cluster(tmp_path / "home") as cluster:
        second = cluster.run("up", "--grpc-port", 0, "--http-port", 0, check=False)
        assert second.returncode == 6, second.stderr
        for name, program in (("the coordinator", "trainyard-coordinator"), ("worker-0", "trainyard-worker")):
            assert name in second.stderr
            assert any(f"process {pid}, since 2" in second.stderr for pid in cluster.daemon_pids(program)), second.stderr
        os.kill(cluster.up.pid, signal.SIGHUP)  # the terminal is gone
        assert cluster.up.wait(30) == 0
        assert "draining" in (cluster.home / "up.log").read_text()


def test_ctrl_c_in_submit_detaches_with_a_word(cluster):
    submit = subprocess.Popen([str(cluster.programs / "trainyard"), "submit", str(cluster.write_job(steps=100_000))],
                              env=cluster.environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    job_id = submit.stdout.readline().strip()
    cluster.wait_for_step(job_id, 2)
    submit.send_signal(signal.SIGINT)
    _, words = submit.communicate(timeout=10)
    assert submit.returncode == 130, words
    assert f"the job goes on. Come back with: trainyard watch {job_id}" in words, words
    assert cluster.job(job_id)["state"] == "RUNNING"
    end(cluster, job_id)
