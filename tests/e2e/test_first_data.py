"""Data, models and answers as a new user names and asks for them: errors before anything is queued, one way to name a
model, JSON that can be submitted again, a retry with other fields."""

import json
import os
import signal

import pytest

from cluster import Cluster

ROWS = '{"text": "the quick brown fox jumps over the lazy dog"}\n'


@pytest.fixture(scope="module")
def yard(tmp_path_factory):
    with Cluster(tmp_path_factory.mktemp("data") / "home", workers=1) as running:
        running.job_id = running.submit(running.write_job(name="mine", steps=2, ranks=1, save_steps=1))
        running.wait_for_success(running.job_id)
        yield running


def job_over(yard, tmp_path, data, **train):
    job = {"version": 1, "name": "over", "kind": "pretrain", "tokenizer": {"train": {"vocab_size": 4096}},
           "model": {"config": {"model_type": "llama", "hidden_size": 32, "num_hidden_layers": 1,
                                "num_attention_heads": 2, "intermediate_size": 64}},
           "data": {"train": [{"path": str(data)}]},
           "train": {"max_steps": 2, "global_batch_size": 1, "max_length": 16, "precision": "fp32", **train}}
    path = tmp_path / "over.json"
    path.write_text(json.dumps(job, indent=1))
    return path


def test_bad_data_is_told_with_its_place_before_anything_is_queued(yard, tmp_path):
    before = yard.run("list", "-o", "name").stdout
    for name, content, said in (("bad.jsonl", ROWS + '{"text": oops}\n', "bad.jsonl:2:10: not JSON"),
                                ("key.jsonl", '{"body": "a"}\n', 'key.jsonl:1:1: there is no key "text" (keys: "body")'),
                                ("array.json", '[{"text": "a"},\n {"text": 7}]', "array.json:2:2: "),
                                ("latin.txt", b"caf\xe9", "latin.txt:1:4: the byte 0xe9"),
                                ("empty.txt", b"", "empty.txt is empty"),
                                ("rows.parquet", b"PAR1\x15\x00", "is a Parquet file"),
                                ("rows.tar.gz", b"\x28\xb5\x2f\xfd\x00", "compressed with Zstandard"),
                                ("org/set", None, "nothing is fetched from the Hugging Face Hub")):
        path = tmp_path / name if content is not None else name
        if content is not None:
            path.write_bytes(content if isinstance(content, bytes) else content.encode())
        job = job_over(yard, tmp_path, path)
        for more in (["--dry-run"], ["--no-wait"]):
            done = yard.run("submit", job, *more, check=False)
            assert done.returncode in (2, 3) and said in done.stderr and not done.stdout, (name, done)
            assert "data.train[0].path" in done.stderr and "over.json:" in done.stderr
    assert yard.run("list", "-o", "name").stdout == before


def test_a_folder_of_small_texts_trains_with_the_vocabulary_it_has(yard, tmp_path):
    (tmp_path / "set" / "deep").mkdir(parents=True)
    (tmp_path / "set" / "a.JSONL").write_text(ROWS * 3)
    (tmp_path / "set" / "deep" / "b.json").write_text(json.dumps([{"text": "a second text of few words"}]))
    (tmp_path / "set" / "deep" / "notes [1].txt").write_text("the quick brown fox\n")
    (tmp_path / "set" / "other.bin").write_bytes(b"\0")
    counts = json.loads(yard.run("data", "check", tmp_path / "set", "-o", "json").stdout)
    assert counts["files"] == 3 and counts["documents"] == 5 and 257 < counts["largest_vocabulary"] < 400
    done = yard.run("submit", job_over(yard, tmp_path, tmp_path / "set"), "--wait", "-o", "json")
    job = json.loads(done.stdout)
    assert job["state"] == "SUCCEEDED" and "1 other files are not" in done.stderr
    assert f"supports a vocabulary of {counts['largest_vocabulary']} entries" in yard.run("logs", job["job_id"]).stdout
    inspected = yard.run("model", "inspect", job["job_id"]).stdout
    assert f"vocab_size {counts['largest_vocabulary']}\n" in inspected


def test_one_way_to_name_a_model_everywhere(yard, tmp_path):
    job = yard.job_id
    for ref in ("mine", job, "mine@latest", "mine@2", f"job:{job}@2"):
        assert "model_type llama" in yard.run("model", "inspect", ref).stdout
        assert yard.run("tokenizer", "encode", "--tokenizer", ref, "the fox").stdout.split()
        assert yard.run("generate", "--model", ref, "--prompt", "the", "--max-new-tokens", 1).stdout
        assert json.loads(yard.run("checkpoint", "describe", ref, "-o", "json").stdout)["checkpoint"]["step"] == "2"
    yard.run("model", "export", "mine@1", tmp_path / "mine", "--format", "hf")
    # A folder of that name wins, and the other reading is said.
    done = yard.run("model", "inspect", "mine", cwd=tmp_path)
    assert "model_type llama" in done.stdout and "job:mine" in done.stderr and "read as the file or folder" in done.stderr
    assert "note" not in yard.run("model", "inspect", "job:mine", cwd=tmp_path).stderr
    for ref, said in (("nobody", "no job nobody"), ("org/model", "hf download org/model"), ("none/", "does not exist")):
        done = yard.run("model", "inspect", ref, check=False)
        assert done.returncode == 3 and said in done.stderr, done
    # In a job file, of model and tokenizer.
    start = json.loads(job_over(yard, tmp_path, yard.sample_text()).read_text())
    for model, tokenizer in (({"from": "mine@1"}, {}), (start["model"], {"from": "mine"})):
        start.update(model=model, tokenizer=tokenizer)
        (tmp_path / "from.json").write_text(json.dumps(start))
        ended = json.loads(yard.run("submit", tmp_path / "from.json", "--wait", "-o", "json").stdout)
        assert ended["state"] == "SUCCEEDED", ended
        assert job in json.dumps(ended["spec"]["model"]) + json.dumps(ended["spec"]["tokenizer"])


def test_a_shown_job_is_a_job_file(yard, tmp_path):
    shown = yard.json("describe", yard.job_id)
    described = yard.run("describe", yard.job_id, "-o", "yaml").stdout
    for name, text in (("job.json", json.dumps(shown)), ("spec.json", json.dumps(shown["spec"])), ("job.yaml", described)):
        (tmp_path / name).write_text(text)
        again = json.loads(yard.run("submit", tmp_path / name, "--dry-run", "-o", "json").stdout)
        assert again["spec"] == shown["spec"], name
    # Without the files, which are known by their digests.
    moved = yard.sample_text().rename(tmp_path / "elsewhere.txt")
    done = yard.run("submit", tmp_path / "job.json", "--wait", "-o", "json")
    moved.rename(yard.home / "text.txt")
    assert json.loads(done.stdout)["state"] == "SUCCEEDED" and "is not here" in done.stderr


def test_an_answer_in_json_is_one_document_or_is_refused(yard):
    job = yard.job_id
    for words in (["list"], ["get", job], ["describe", job], ["events", job], ["explain", job], ["wait", job],
                  ["worker", "list"], ["checkpoint", "list", job], ["checkpoint", "verify", job],
                  ["data", "check", yard.sample_text()], ["tokenizer", "encode", "--tokenizer", job, "a b"],
                  ["tokenizer", "decode", "--tokenizer", job, "65"],
                  ["submit", yard.write_job(name="json", steps=1, ranks=1), "--no-wait"]):
        assert isinstance(json.loads(yard.run(*words, "-o", "json").stdout), dict), words
    for words in (["watch", job], ["logs", job], ["metrics", "export", job, "--csv", "-"], ["doctor"], ["doctor", job],
                  ["checkpoint", "export", job, "--to", "x"], ["completion", "bash"], ["model", "inspect", job],
                  ["generate", "--model", job, "--prompt", "a"], ["chat", job]):
        done = yard.run(*words, "-o", "json", check=False)
        assert done.returncode == 2 and "no answer in JSON" in done.stderr and not done.stdout, words


def test_a_retry_goes_on_with_other_fields_and_refuses_what_the_job_is(yard):
    done = yard.run("retry", yard.job_id, "--set", "train.max_steps=3", check=False)
    assert done.returncode == 6 and "only a FAILED job" in done.stderr
    job = yard.submit(yard.write_job(name="again", steps=1_000_000, ranks=1, save_steps=0),
                      "--set", "limits.max_attempts=1")
    yard.wait_for_step(job, 1)
    for pid in yard.processes("trainyard-trainer"):
        os.kill(pid, signal.SIGKILL)
    yard.wait_for_state(job, "FAILED")
    done = yard.run("retry", job, "--set", "train.max_length=8", check=False)
    assert done.returncode == 2 and "train.max_length cannot change" in done.stderr
    yard.run("retry", job, "--set", "train.lr=0.002", "--set", "train.max_steps=3")
    ended = yard.wait_for_success(job)
    assert ended["spec"]["train"]["max_steps"] == "3" and ended["spec"]["train"]["learning_rate"] == 0.002
    assert ended["origins"]["train.learning_rate"] == "retry --set" and ended["step"] == "3"
    assert "JobSpecChanged" in yard.run("events", job).stdout
