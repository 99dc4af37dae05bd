"""`trainyard plan` as a user runs it: no cluster, a job file, numbers."""

import json
import os
import subprocess

from cluster import BIN

JOB = """\
version: 1
name: planned
kind: pretrain
model: {preset: llama-nano}
tokenizer: {train: {vocab_size: 4096}}
data: {train: [{path: nowhere/*.txt}]}
train: {max_steps: 100, global_batch_size: 16, micro_batch_size: 8, max_length: 256, precision: fp32}
"""


def plan(tmp_path, *words):
    job = tmp_path / "job.yaml"
    job.write_text(JOB)
    environment = dict(os.environ, TRAINYARD_HOME=str(tmp_path / "home"))
    return subprocess.run([BIN / "trainyard", "plan", job, *words], capture_output=True, text=True, env=environment)


def test_what_does_not_fit_says_what_would_and_that_fits(tmp_path):
    refused = plan(tmp_path, "--memory", "150MiB", "-o", "json")
    assert refused.returncode == 1
    answer = json.loads(refused.stdout)
    assert not answer["fits"] and answer["would_fit"]
    assert sum(line["bytes"] for line in answer["rank"]["lines"]) == answer["rank"]["total_bytes"]
    for remedy in answer["would_fit"]:
        words = [word for change in remedy["set"].split() for word in ("--set", change)]
        accepted = plan(tmp_path, "--memory", "150MiB", "-o", "json", *words)
        assert accepted.returncode == 0, accepted.stderr
        assert json.loads(accepted.stdout)["needed_bytes"] == remedy["bytes"]


def test_the_arithmetic_of_the_batch_is_told_with_the_rate_it_assumes(tmp_path):
    told = json.loads(plan(tmp_path, "--teraflops", "0.1", "-o", "json").stdout)
    assert told["batch"]["tokens_per_step"] == 16 * 256
    assert told["batch"]["micro_batches_per_step"] == 2
    assert told["batch"]["tokens"] == 100 * 16 * 256
    rate = told["time"]["tokens_per_second"]
    assert abs(rate * told["batch"]["operations_per_token"] / 0.1e12 - 1) < 1e-9
    assert told["time"]["rate"] == "given"


def test_the_rate_can_be_measured_here(tmp_path):
    told = json.loads(plan(tmp_path, "--measure", "-o", "json").stdout)
    assert told["time"]["tokens_per_second"] > 0
    assert told["time"]["rate"].startswith("measured here")


def test_the_time_is_told_unasked_and_of_auto_the_faster_format_with_both_rates(tmp_path):
    first = json.loads(plan(tmp_path, "--set", "train.precision=auto", "-o", "json").stdout)
    rates = {name: first["rates"][f"{name}_tokens_per_second"] for name in ("fp32", "bf16")}
    assert first["batch"]["precision"] == ("bf16" if rates["bf16"] > 1.02 * rates["fp32"] else "fp32")
    assert first["batch"]["precision_chosen"].startswith("measured: fp32 ")
    rate = first["time"]["tokens_per_second"]
    assert abs(rate / rates[first["batch"]["precision"]] - 1) < 1e-6
    assert first["time"]["rate"].startswith("measured here")
    # Kept: another plan says the same, to the last digit.
    again = json.loads(plan(tmp_path, "--set", "train.precision=auto", "-o", "json").stdout)
    assert (again["rates"], again["time"]) == (first["rates"], first["time"])


def test_a_named_precision_with_a_given_rate_measures_nothing(tmp_path):
    # A precision that is named and a rate that is given leave nothing to measure.
    told = json.loads(plan(tmp_path, "--teraflops", "0.1", "-o", "json").stdout)
    assert "rates" not in told and not (tmp_path / "home").exists()


def test_a_mistake_is_told_as_submit_tells_it(tmp_path):
    wrong = plan(tmp_path, "--set", "train.micro_batch_size=5")
    assert wrong.returncode == 2 and "micro_batch_size" in wrong.stderr
    assert plan(tmp_path, "--memory", "much").returncode == 2
