"""A real Prometheus scrapes coordinator and workers during a job."""

import json
import shutil
import subprocess
import urllib.parse
import urllib.request

import pytest
from cluster import wait_for


@pytest.mark.skipif(not shutil.which("prometheus"), reason="prometheus is not installed; scripts/setup does")
def test_prometheus_scrapes_coordinator_and_workers(cluster):
    workers = [w["http_address"] for w in cluster.json("worker", "list")["workers"]]
    metrics = urllib.request.Request(f"http://{cluster.addresses['http']}/metrics",
                                     headers={"Authorization": f"Bearer {cluster.token('scraper')}"})
    lint = subprocess.run(["promtool", "check", "metrics"], input=urllib.request.urlopen(metrics, timeout=5).read(),
                          capture_output=True)
    assert lint.returncode == 0, lint.stdout + lint.stderr
    config = cluster.home / "prometheus.yml"
    config.write_text(json.dumps({
        "global": {"scrape_interval": "1s"},
        "scrape_configs": [{"job_name": "trainyard", "authorization": {"credentials_file": str(cluster.home / "tokens/scraper")},
                            "static_configs": [{"targets": [cluster.addresses["http"], *workers]}]}]}))
    listen = "127.0.0.1:19090"
    prometheus = subprocess.Popen(
        ["prometheus", f"--config.file={config}", f"--storage.tsdb.path={cluster.home / 'tsdb'}",
         f"--web.listen-address={listen}"], stdout=subprocess.DEVNULL, stderr=open(cluster.home / "prometheus.log", "wb"))
    try:
        def query(expression):
            url = f"http://{listen}/api/v1/query?" + urllib.parse.urlencode({"query": expression})
            try:
                return json.load(urllib.request.urlopen(url, timeout=5))["data"]["result"]
            except OSError:
                return []
        wait_for("three targets are up", lambda: sum(float(r["value"][1]) for r in query("up")) == 3)
        job_id = cluster.submit(cluster.write_job(steps=2000, save_steps=20))
        for expression in (f'trainyard_train_loss{{job_id="{job_id}"}} > 0',
                           f'trainyard_train_tokens_total{{job_id="{job_id}"}} > 0',
                           f'trainyard_train_step{{job_id="{job_id}"}} > 0',
                           f'trainyard_train_max_steps{{job_id="{job_id}"}} == 2000',
                           "count(trainyard_build_info) == 3",
                           "trainyard_slots", "grpc_server_handled_total > 0",
                           f'trainyard_checkpoint_last_success_timestamp_seconds{{job_id="{job_id}"}} > 0',
                           f'trainyard_job_info{{job_id="{job_id}",kind="pretrain"}} == 1'):
            assert wait_for(expression, lambda: query(expression), 40)
        cluster.run("cancel", job_id)
        cluster.wait_for_state(job_id, "CANCELLED", seconds=30)
        assert wait_for("the end is counted", lambda: query(
            'trainyard_jobs_ended_total{state="CANCELLED",reason="CANCELLED"} == 1'), 20)
    finally:
        prometheus.terminate()
        prometheus.wait(10)
