"""The command line's tools as a user meets them, without a cluster.

    TRAINYARD_BUILD_DIR=build pytest tests/golden/test_tools.py
"""

import json
import os
import pathlib
import subprocess

import pytest

tokenizers = pytest.importorskip("tokenizers")
pytest.importorskip("torch")
pytest.importorskip("transformers")

import tiny_models

REPOSITORY = pathlib.Path(__file__).resolve().parents[2]
BUILD = pathlib.Path(os.environ.get("TRAINYARD_BUILD_DIR", REPOSITORY / "build")).resolve()
TRAINYARD = BUILD / "bin" / "trainyard"
TRAINER = BUILD / "bin" / "trainyard-trainer"
BERT = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
SENTENCES = "".join(f"in the {time} near the old {place}, Anna greets {name}.\n"
                    for time in ("morning", "evening", "winter") for place in ("harbour", "orchard")
                    for name in ("Boris", "Clara", "Zoë"))


def trainyard(*words, check=True, **more):
    if not TRAINYARD.exists():
        pytest.skip(f"{TRAINYARD} is not built")
    done = subprocess.run([TRAINYARD, *map(str, words)], capture_output=True, text=True, timeout=120, **more)
    assert not check or done.returncode == 0, done.stderr
    return done


@pytest.fixture
def text(tmp_path):
    (tmp_path / "text.txt").write_text(SENTENCES)
    return tmp_path / "text.txt"


@pytest.mark.parametrize("words,special", [
    ("--type bpe --vocab-size 280", ["<|endoftext|>"]),
    ("--type bpe --vocab-size 280 --with-mask", ["<|endoftext|>", "<mask>"]),
    ("--type wordpiece --vocab-size 70", BERT),
    ("--type unigram --vocab-size 306 --with-mask", ["<|endoftext|>", "<mask>"])])
def test_a_trained_tokenizer_is_what_the_library_reads_and_gives_text_back(tmp_path, text, words, special):
    out = tmp_path / "tokenizer.json"
    assert trainyard("tokenizer", "train", text, *words.split(), "--out", out).stdout == f"{out}\n"
    theirs = tokenizers.Tokenizer.from_file(str(out))
    assert [theirs.id_to_token(i) for i in range(len(special))] == special
    assert {t.content for t in theirs.get_added_tokens_decoder().values()} == set(special)
    for line in ("the old harbour", "[the harbour]", "-- Anna"):
        ids = trainyard("tokenizer", "encode", "--tokenizer", out, "--", line).stdout.split()
        assert [int(i) for i in ids] == theirs.encode(line, add_special_tokens=False).ids
        back = trainyard("tokenizer", "decode", "--tokenizer", out, *ids).stdout
        assert back == theirs.decode([int(i) for i in ids], skip_special_tokens=False) + "\n"


@pytest.mark.parametrize("objective,model,words", [
    ("causal", "llama-nano", "--type bpe --vocab-size 280"),
    ("causal", "llama-nano", "--type unigram --vocab-size 306"),
    ("masked", "bert-nano", "--type wordpiece --vocab-size 70"),
    ("masked", "bert-nano", "--type bpe --vocab-size 280 --with-mask")])
def test_a_job_trains_with_it(tmp_path, text, objective, model, words):
    trainyard("tokenizer", "train", text, *words.split(), "--out", tmp_path / "tokenizer.json")
    (tmp_path / "job.yaml").write_text(json.dumps({
        "version": 1, "name": "with-it", "kind": "pretrain", "objective": objective, "model": {"preset": model},
        "tokenizer": {"from": str(tmp_path / "tokenizer.json")}, "data": {"train": [{"path": str(text)}]},
        "train": {"max_steps": 1, "global_batch_size": 1, "max_length": 32, "precision": "fp32"}}))
    done = subprocess.run([TRAINER, "run", tmp_path / "job.yaml", "--out", tmp_path / "out"], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_a_kind_that_does_not_exist_is_named_with_those_that_do(tmp_path, text):
    done = trainyard("tokenizer", "train", text, "--type", "wordpeice", "--out", tmp_path / "t.json", check=False)
    assert done.returncode == 2 and "wordpeice" in done.stderr
    assert "bpe, wordpiece and unigram" in done.stderr and not (tmp_path / "t.json").exists()


def test_data_check_counts_what_training_would_read(tmp_path, text):
    counts = dict(line.split() for line in trainyard("data", "check", text).stdout.splitlines())
    assert counts["files"] == "1" and int(counts["bytes"]) == len(SENTENCES.encode())
    (tmp_path / "a.jsonl").write_text('{"body": "one"}\n{"text": "two"}\n')
    done = trainyard("data", "check", tmp_path / "a.jsonl", "--text-field", "body", check=False)
    assert done.returncode == 2 and "a.jsonl:2" in done.stderr


def test_what_cannot_be_told_is_an_error(tmp_path, text):
    command = [TRAINYARD, "data", "check", text]
    with open("/dev/full", "w") as full:
        done = subprocess.run(command, stdout=full, stderr=subprocess.PIPE, text=True)
    assert done.returncode == 5 and "No space left on device" in done.stderr
    # Closed: nothing else gets its number, and what is printed lands in no file.
    out = tmp_path / "tokenizer.json"
    train = f"'{TRAINYARD}' tokenizer train '{text}' --vocab-size 280 --out '{out}'"
    done = subprocess.run(["bash", "-c", f"{train} >&- 2>&-"])
    assert done.returncode == 5
    whole = out.read_bytes()
    trainyard("tokenizer", "train", text, "--vocab-size", 280, "--out", out)
    assert out.read_bytes() == whole


def test_errors_name_the_file_and_have_the_code_of_their_kind(tmp_path, text):
    (tmp_path / "empty").mkdir()
    (tmp_path / "broken.json").write_text("{")
    missing, broken = tmp_path / "missing", tmp_path / "broken.json"
    for words, code, said in (
            (["generate", "--model", missing, "--prompt", "a"], 3, f"{missing} does not exist"),
            (["model", "inspect", tmp_path / "empty"], 3, "holds no config.json"),
            (["model", "export", tmp_path, tmp_path / "x.gguf"], 2, "--format is required"),
            (["tokenizer", "train", text], 2, "--out is required"),
            (["tokenizer", "train", text, "--out", tmp_path / "empty"], 2, "is a folder"),
            (["tokenizer", "train", text, "--out", missing / "t.json"], 3, f"there is no folder {missing}"),
            (["tokenizer", "train", missing, "--out", tmp_path / "t.json"], 3, str(missing)),
            (["tokenizer", "train", text, "--out", tmp_path / "t.json", "--vocab-size", "200"], 2, "ask for"),
            (["tokenizer", "train", text, "--out", tmp_path / "t.json", "--vocab-size", "9" * 13], 2, "1048576"),
            (["tokenizer", "encode", "--tokenizer", missing, "a"], 3, str(missing)),
            (["tokenizer", "encode", "--tokenizer", broken, "a"], 2, str(broken)),
            (["tokenizer", "encode", "--tokenizer", tmp_path / "empty", "a"], 3, str(tmp_path / "empty")),
            (["data", "check", missing], 3, str(missing))):
        done = trainyard(*words, check=False)
        assert done.returncode == code and said in done.stderr and not done.stdout, (words, done)


TEMPLATE = "{% for m in messages %}{{ m.role + ': ' + m.content + '\\n' }}{% endfor %}"


@pytest.fixture(scope="module")
def talker(tmp_path_factory):
    """A model that says nothing of sense, with a tokenizer and a chat template."""
    folder = tmp_path_factory.mktemp("talker")
    (folder / "text.txt").write_text(SENTENCES)
    trainyard("tokenizer", "train", folder / "text.txt", "--vocab-size", 280, "--out", folder / "tokenizer.json")
    tiny_models.make("llama", vocab_size=280).save_pretrained(folder)
    (folder / "chat_template.jinja").write_text(TEMPLATE)
    return folder


def generate(model, *words, **more):
    return trainyard("generate", "--model", model, "--max-new-tokens", 4, "--threads", 1, *words, **more)


def test_a_prompt_in_brackets_or_with_a_dash_is_one_text(talker):
    for prompt in ("[1, 2]", "-x", "- a list", "a,b"):
        assert generate(talker, "--prompt", prompt).stdout.startswith(prompt)


def test_a_file_of_prompts_is_read_line_by_line_and_a_bad_line_is_named(talker, tmp_path):
    (tmp_path / "good.txt").write_bytes(b"one\r\n\ntwo\n[3]")
    answers = [json.loads(line) for line in generate(talker, "--prompts", tmp_path / "good.txt").stdout.splitlines()]
    assert [answer["prompt"] for answer in answers] == ["one", "two", "[3]"]
    for name, text, said in (
            ("not_utf8.txt", b"one\n\xff\n", "not_utf8.txt:2"),
            ("no_content.jsonl", b'{"prompt": "x"}\n{"messages": [{"role": "user"}]}\n', "no_content.jsonl:2"),
            ("no_object.jsonl", b'{"messages": [1]}\n', "no_object.jsonl:1"),
            ("no_json.jsonl", b'\n{"prompt": \n', "no_json.jsonl:2"),
            ("nothing.txt", b"\n\n", "nothing.txt has no prompts")):
        (tmp_path / name).write_bytes(text)
        done = generate(talker, "--prompts", tmp_path / name, check=False)
        assert done.returncode == 2 and said in done.stderr and not done.stdout, done


def test_an_option_that_cannot_be_is_refused_before_anything_is_shown(talker):
    for words in ("--temperature -1", "--top-p 2", "--max-new-tokens -3", "--precision fp8", "--top-k -1"):
        done = generate(talker, "--prompt", "a", *words.split(), check=False)
        assert done.returncode == 2 and words.split()[0].strip("-").replace("-", "_") in done.stderr.replace("-", "_")
        assert not done.stdout


def test_a_conversation_goes_on_after_a_line_that_is_not_text(talker, tmp_path):
    chat = [TRAINYARD, "chat", talker, "--max-new-tokens", "4", "--threads", "1"]
    done = subprocess.run(chat, input=b"\xff\nhello\n", capture_output=True, timeout=120)
    assert done.returncode == 0 and b"not UTF-8 at its byte 0" in done.stderr and done.stdout.count(b"\n") >= 1
    assert subprocess.run(chat, input=b"", capture_output=True, timeout=120).returncode == 0
    bare = tmp_path / "bare"
    bare.mkdir()
    for name in ("config.json", "model.safetensors", "tokenizer.json"):
        (bare / name).symlink_to(talker / name)
    done = trainyard("chat", bare, check=False, input="")
    assert done.returncode == 6 and "has no chat template" in done.stderr
