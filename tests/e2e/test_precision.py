"""`precision: auto`: what was measured and chosen is told wherever a user looks, and kept."""

import json
import re

RATES = r"measured: fp32 [\d.e+]+ tokens/s, bf16 [\d.e+]+ tokens/s"


def test_the_choice_and_both_rates_stand_in_the_log_in_describe_and_in_the_events(cluster):
    job_file = cluster.write_job(steps=3, save_steps=3)
    job_file.write_text(job_file.read_text().replace("precision: fp32", "precision: auto"))
    first = cluster.submit(job_file)
    job = cluster.wait_for_success(first)
    (choice,) = job["choices"]
    assert choice["field"] == "train.precision" and choice["value"] in ("fp32", "bf16")
    assert re.fullmatch(RATES, choice["why"])

    told = re.search(rf"Chosen +train\.precision is (fp32|bf16): {RATES}", cluster.run("describe", first).stdout)
    assert told and told[1] == choice["value"]
    logs = cluster.run("logs", first).stdout
    for rank in (0, 1):
        assert re.search(rf"rank {rank} \|.*train\.precision: auto is {choice['value']}, {RATES}", logs), logs
    assert choice["why"] in cluster.run("events", first).stdout

    kept = [json.loads(p.read_text()) for p in cluster.home.glob("worker/*/paces.json")]
    assert kept and all(len(k["paces"]) == 1 for k in kept)
    # The second job's first rank may land on the other worker, which then measures once too.
    second = cluster.wait_for_success(cluster.submit(job_file))
    assert second["choices"][0]["field"] == "train.precision"
    assert all(len(json.loads(p.read_text())["paces"]) == 1 for p in cluster.home.glob("worker/*/paces.json"))


def test_a_job_that_names_its_precision_chooses_nothing(cluster):
    job = cluster.wait_for_success(cluster.submit(cluster.write_job(steps=2, save_steps=2)))
    assert "choices" not in job
    assert not list(cluster.home.glob("worker/*/paces.json"))
