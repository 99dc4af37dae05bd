"""Real text in, a trained model out, through every part of the system."""

import json
import math
import subprocess
import urllib.error
import urllib.request

import pytest
from cluster import BIN, wait_for


def test_a_job_trains_on_two_ranks_and_leaves_a_model_transformers_loads(cluster):
    job_id = cluster.submit(cluster.write_job(steps=40, eval_steps=20))
    job = cluster.wait_for_success(job_id)
    assert int(job["step"]) == 40
    metrics = job["latest_metrics"]
    assert metrics["loss"] < 0.8 * math.log(300)  # a fresh model starts at ln 300
    assert metrics["eval_bits_per_byte"] > 0

    steps = [int(c["step"]) for c in cluster.json("checkpoint", "list", job_id)["checkpoints"]]
    assert steps == [10, 20, 30, 40]
    assert cluster.run("checkpoint", "verify", f"{job_id}@latest").stdout.startswith("intact")

    folder = cluster.home / "model"
    cluster.run("checkpoint", "export", f"{job_id}@latest", "--to", folder)
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer
    tokenizer = AutoTokenizer.from_pretrained(folder)
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
    ids = tokenizer((cluster.home / "text.txt").read_text()[:1000], return_tensors="pt").input_ids[:, :64]
    loss = model(ids, labels=ids).loss.item()
    assert loss < 0.8 * math.log(300)

    sample = cluster.run("generate", "--model", f"job:{job_id}@latest", "--prompt", "the quick",
                         "--max-new-tokens", "8", "--temperature", "0").stdout
    expected = model.generate(tokenizer("the quick", return_tensors="pt").input_ids, max_new_tokens=8,
                              do_sample=False)
    assert tokenizer.decode(expected[0], skip_special_tokens=True).strip() in sample.strip() or \
        sample.strip() in tokenizer.decode(expected[0], skip_special_tokens=True).strip()

    events = cluster.event_types(job_id)
    assert events[0] == "JobCreated" and "CheckpointCommitted" in events
    logs = cluster.run("logs", job_id).stdout
    assert "rank 0 |" in logs and "rank 1 |" in logs


def test_more_ranks_than_slots_wait_with_a_reason_and_cancel_ends_it(cluster):
    job_id = cluster.submit(cluster.write_job(name="wide", ranks=4))
    sentence = wait_for("an explanation", lambda: cluster.run("explain", job_id).stdout)
    assert "4" in sentence and "slot" in sentence
    cluster.run("cancel", job_id)
    assert cluster.wait_for_state(job_id, "CANCELLED")


def test_bad_job_files_are_refused_with_their_place(cluster):
    good = cluster.write_job().read_text()
    bad = cluster.home / "bad.yaml"
    for change, wanted in [
        (("max_steps:", "max_stepz:"), ["bad.yaml:", "max_stepz", "max_steps"]),
        (("max_steps: 60", "max_steps: many"), ["bad.yaml:", "max_steps", "many"]),
        (("learning_rate: 1.0e-3", "learning_rate: -1"), ["learning_rate"]),
        (("kind: pretrain", "kind: sft"), ["sft", "not built"]),
    ]:
        assert change[0] in good
        bad.write_text(good.replace(*change))
        result = cluster.run("submit", bad, "--no-wait", check=False)
        assert result.returncode in (1, 2), result
        for word in wanted:
            assert word in result.stderr, (word, result.stderr)
    missing = cluster.run("submit", cluster.home / "none.yaml", check=False)
    assert missing.returncode == 3 and "none.yaml" in missing.stderr


def test_bad_text_is_refused_at_submit_with_its_line_and_offset(cluster):
    text = cluster.home / "broken.txt"
    text.write_bytes(b"good text\n" * 100 + b"\xff\xfe" + b"more\n" * 100)
    refused = cluster.run("submit", cluster.write_job(name="broken", text=text), "--no-wait", check=False)
    assert refused.returncode == 2
    assert "broken.yaml:8:" in refused.stderr and "broken.txt:101:1" in refused.stderr, refused.stderr
    assert "offset 1000" in refused.stderr and "data.train[0].path" in refused.stderr, refused.stderr
    assert not cluster.json("list").get("jobs")


def test_tokens_are_required_everywhere(cluster):
    http = f"http://{cluster.addresses['http']}"
    assert urllib.request.urlopen(f"{http}/healthz", timeout=5).status == 200
    with pytest.raises(urllib.error.HTTPError) as denied:
        urllib.request.urlopen(f"{http}/metrics", timeout=5)
    assert denied.value.code == 401
    wrong = cluster.home / "wrong-token"
    wrong.write_text("0" * 64)
    wrong.chmod(0o600)
    assert cluster.run("--token-file", wrong, "list", check=False).returncode == 4
    # A worker may report, and nothing else.
    worker = cluster.home / "tokens" / "worker"
    assert cluster.run("--token-file", worker, "list", check=False).returncode == 4
    # Each refusal is a line of the coordinator's log, without the token.
    log = (cluster.home / "logs" / "coordinator.log").read_text()
    for words in ("denied /metrics to 127.0.0.1: no token", "JobService/ListJobs", "TOKEN_UNKNOWN",
                  "WRONG_TOKEN_KIND"):
        assert words in log, (words, log)
    assert worker.read_text().strip() not in log and "0" * 64 not in log


def test_daemons_link_no_torch_and_the_trainer_no_grpc():
    def libraries(name):
        return subprocess.run(["ldd", BIN / name], capture_output=True, text=True, check=True).stdout
    assert "libtorch" in libraries("trainyard-trainer")
    for word in ("libgrpc", "libprotobuf"):
        assert word not in libraries("trainyard-trainer")
    for name in ("trainyard", "trainyard-coordinator", "trainyard-worker"):
        assert "libtorch" not in libraries(name) and "libc10" not in libraries(name)


def test_every_command_has_help_and_typos_get_a_suggestion(cluster):
    for command in ("submit", "list", "get", "describe", "events", "watch", "logs", "wait", "cancel", "retry", "explain",
                    "delete", "du", "checkpoint list", "checkpoint describe", "checkpoint verify", "checkpoint export", "checkpoint delete", "generate", "up",
                    "worker list", "doctor", "completion", "metrics export", "chat", "model import", "model export", "model inspect",
                    "tokenizer train", "tokenizer encode", "tokenizer decode", "data check", "evaluate"):
        text = cluster.run(*command.split(), "--help").stdout
        assert text.startswith("Example: ") and f"trainyard {command}" in text.splitlines()[0], text
    for words, meant in [("sumbit x", "submit"), ("--home /x checkpoint lst x", "checkpoint list"),
                         ("submit x --dry-rnu", "--dry-run"), ("tokenizer trian x", "tokenizer train")]:
        result = cluster.run(*words.split(), check=False)
        assert result.returncode == 2 and f"did you mean: {meant}\n" in result.stderr, result
    assert cluster.run("get", "nosuchjob", check=False).returncode == 3
    assert cluster.run("list", "-o", "jsn", check=False).returncode == 2
    script = cluster.run("completion", "bash").stdout
    typed = f'{script}\nCOMP_WORDS=(trainyard checkpoint exp); COMP_CWORD=2; _trainyard; echo "${{COMPREPLY[@]}}"'
    assert subprocess.run(["bash", "-c", typed], capture_output=True, text=True, check=True).stdout.split() == ["export"]
    assert "coordinator" in cluster.run("doctor").stdout


def test_a_repeated_submit_with_one_request_id_makes_one_job(cluster):
    job_file = cluster.write_job(name="once", ranks=8)  # waits for ever: nothing trains
    first = cluster.submit(job_file, "--request-id", "abc")
    assert cluster.submit(job_file, "--request-id", "abc") == first
    assert [j["job_id"] for j in cluster.json("list", "--name", "once")["jobs"]] == [first]
    yaml = cluster.run("get", first, "-o", "yaml").stdout
    assert f"job_id: {first}" in yaml
    assert json.loads(cluster.run("get", first, "-o", "json").stdout)["state"] == "QUEUED"
    cluster.run("cancel", first)
