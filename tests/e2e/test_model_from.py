"""A job that goes on from another's checkpoint, and one that evaluates what came of it."""

import json

FURTHER = """\
version: 1
name: further
kind: pretrain
model: {{from: "job:tiny@20"}}
data:
  train: [{{path: {text}}}]
  validation: [{{path: {text}}}]
train: {{max_steps: 1, global_batch_size: 8, max_length: 64, learning_rate: 1.0e-12, precision: fp32}}
resources: {{ranks: 2}}
evaluation: {{max_rows: 16}}
"""

EVALUATE = """\
version: 1
name: perplexity
kind: evaluate
model: {{from: {model}}}
data: {{validation: [{{path: {text}}}]}}
train: {{precision: fp32}}
resources: {{ranks: 2}}
"""


def test_a_job_goes_on_from_a_checkpoint_and_is_evaluated(cluster):
    first = cluster.submit(cluster.write_job(steps=20, save_steps=10, eval_steps=20))
    ended = cluster.wait_for_success(first)
    text = cluster.sample_text()

    job_file = cluster.home / "further.yaml"
    job_file.write_text(FURTHER.format(text=text))
    further = cluster.submit(job_file)
    spec = cluster.json("describe", further)["spec"]
    assert spec["model"]["from"] == f"job:{first}@20"
    assert {"config.json", "model.safetensors", "tokenizer.json"} <= {f["name"] for f in spec["model"]["files"]}
    assert not any("/" in f["name"] for f in spec["model"]["files"])
    job = cluster.wait_for_success(further)
    # A step this small changes nothing: it is where the first job ended.
    assert abs(job["latest_metrics"]["eval_loss"] - ended["latest_metrics"]["eval_loss"]) < 1e-4

    # A folder of the client's, by two ranks, and the checkpoint itself, by two ranks: the same report.
    folder = cluster.home / "exported"
    cluster.run("checkpoint", "export", f"{further}@latest", "--to", folder)
    reports = []
    for name, model in [("from-folder", folder), ("from-job", f"job:{further}@latest")]:
        job_file = cluster.home / f"{name}.yaml"
        job_file.write_text(EVALUATE.format(model=json.dumps(str(model)), text=text))
        printed = cluster.run("submit", job_file)
        assert "word_perplexity" in printed.stdout  # the table, once it is done
        reports.append(cluster.json("evaluate", cluster.json("list")["jobs"][0]["job_id"]))
    assert [r["results"]["bytes"] for r in reports] == [text.stat().st_size] * 2
    assert reports[0]["results"] == reports[1]["results"]
    assert reports[0]["setting"]["max_length"] == 128
    bits = reports[0]["results"]["bits_per_byte"]
    assert abs(bits - job["latest_metrics"]["eval_bits_per_byte"]) < 0.15 * bits


def test_a_model_that_is_not_there_is_refused_at_submit(cluster):
    job_file = cluster.home / "further.yaml"
    job_file.write_text(FURTHER.format(text=cluster.sample_text()))
    refused = cluster.run("submit", job_file, "--no-wait", check=False)
    assert refused.returncode == 3
    assert "model.from" in refused.stderr and "tiny" in refused.stderr
    job_file.write_text(FURTHER.format(text=cluster.sample_text()).replace('"job:tiny@20"', "./nowhere"))
    refused = cluster.run("submit", job_file, "--no-wait", check=False)
    assert refused.returncode == 3
    assert "further.yaml:4:" in refused.stderr and "nowhere does not exist" in refused.stderr
    # A bare word may be a job's name.
    job_file.write_text(FURTHER.format(text=cluster.sample_text()).replace('"job:tiny@20"', "nowhere"))
    refused = cluster.run("submit", job_file, "--no-wait", check=False)
    assert refused.returncode == 3
    assert "model.from" in refused.stderr and "no job nowhere" in refused.stderr
