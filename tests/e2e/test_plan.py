"""`trainyard plan` as a user runs it: no cluster, a job file, numbers."""

import json
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
    return subprocess.run([BIN / "trainyard", "plan", job, *words], capture_output=True, text=True)


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


def test_a_mistake_is_told_as_submit_tells_it(tmp_path):
    wrong = plan(tmp_path, "--set", "train.micro_batch_size=5")
    assert wrong.returncode == 2 and "micro_batch_size" in wrong.stderr
    assert plan(tmp_path, "--memory", "much").returncode == 2
