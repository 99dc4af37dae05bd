"""Log-likelihoods are EleutherAI's lm-evaluation-harness's own: its HFLM is run here, in this process, on tiny
random models whose tokenizers add BOS, add nothing, or have no BOS at all, beside `tool score`.

    TRAINYARD_BUILD_DIR=build pytest tests/golden/test_harness.py
"""

import json
import os
import pathlib
import subprocess

import pytest

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")
tokenizers = pytest.importorskip("tokenizers")
lm_eval = pytest.importorskip("lm_eval", reason="scripts/setup --oracle installs lm_eval")

from lm_eval.api.instance import Instance
from lm_eval.models.huggingface import HFLM

REPOSITORY = pathlib.Path(__file__).resolve().parents[2]
BUILD = pathlib.Path(os.environ.get("TRAINYARD_BUILD_DIR", REPOSITORY / "build"))
TRAINER = BUILD / "bin/trainyard-trainer"
SPECIAL = ["<|end|>", "<|begin|>", "<|text|>"]

PAIRS = [("The winter is long", " and cold"), ("The winter is ", "long"), ("", "The winter"),
         ("", "<|begin|>The winter"), ("<|begin|>The winter", " is long"), ("A line\n\n", "another"),
         ("café ", "été"), ("x", "y"), ("ends <|end|>", " and goes on"), ("one", " two" * 9)]
TEXTS = ["The winter is long.", " a b \n\n c ", "café　été", "<|begin|>The winter<|end|> is", "x",
         "In the winter near the old garden, Anna greets Boris.\n" * 9]

# What the tokenizer adds to a text, and which of its tokens are named.
TOKENIZERS = {
    "adds BOS": ("<|begin|> $A", {"bos_token": "<|begin|>", "eos_token": "<|end|>"}),
    "adds BOS and EOS": ("<|begin|> $A <|end|>", {"bos_token": "<|begin|>", "eos_token": "<|end|>"}),
    "adds a token that is no BOS": ("<|text|> $A", {"eos_token": "<|end|>"}),
    "adds nothing": (None, {"bos_token": "<|begin|>", "eos_token": "<|end|>"}),
    "has EOS only": (None, {"eos_token": "<|end|>"}),
}


def save_tokenizer(folder, adds, names):
    tokenizer = tokenizers.Tokenizer(tokenizers.models.BPE())
    tokenizer.pre_tokenizer = tokenizers.pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = tokenizers.decoders.ByteLevel()
    tokenizer.train_from_iterator(TEXTS + [a + b for a, b in PAIRS], tokenizers.trainers.BpeTrainer(
        vocab_size=320, special_tokens=SPECIAL, show_progress=False,
        initial_alphabet=tokenizers.pre_tokenizers.ByteLevel.alphabet()))
    if adds is not None:
        tokenizer.post_processor = tokenizers.processors.TemplateProcessing(
            single=adds, special_tokens=[(token, tokenizer.token_to_id(token)) for token in SPECIAL])
    fast = transformers.PreTrainedTokenizerFast(tokenizer_object=tokenizer, **names)
    fast.save_pretrained(folder)
    return tokenizer.get_vocab_size()


def save_model(folder, vocab_size, places):
    torch.manual_seed(5)
    # config.json names a BOS whether the tokenizer has one or not, as Qwen 2's does.
    config = transformers.LlamaConfig(
        vocab_size=vocab_size, hidden_size=32, intermediate_size=64, num_hidden_layers=2, num_attention_heads=4,
        num_key_value_heads=2, max_position_embeddings=places, bos_token_id=1, eos_token_id=0,
        initializer_range=0.3)
    transformers.LlamaForCausalLM(config).save_pretrained(folder)


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    if not TRAINER.exists():
        pytest.skip(f"{TRAINER} is not built")
    made = {}
    for name, (adds, names) in TOKENIZERS.items():
        folder = tmp_path_factory.mktemp("harness") / "model"
        save_model(folder, save_tokenizer(folder, adds, names), places=24)
        made[name] = folder
    return made


def harness(folder, **more):
    model = transformers.AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    return HFLM(pretrained=model, tokenizer=tokenizer, batch_size=4, device="cpu", **more)


def asked(kind, arguments):
    return [Instance(request_type=kind, doc={}, arguments=one, idx=i) for i, one in enumerate(arguments)]


def score(folder, lines, *more):
    file = folder.parent / "lines.jsonl"
    file.write_text("".join(json.dumps(line) + "\n" for line in lines))
    ran = subprocess.run([TRAINER, "tool", "score", "--model", folder, "--threads", "1", *more, file],
                         capture_output=True, text=True)
    assert ran.returncode == 0, ran.stderr
    return [json.loads(line) for line in ran.stdout.splitlines()]


def compare(folder, ours, theirs):
    got = score(folder, [{"context": a, "continuation": b} for a, b in PAIRS] + [{"text": t} for t in TEXTS], *ours)
    pairs, texts = got[:len(PAIRS)], got[len(PAIRS):]
    peer = harness(folder, **theirs)
    # Each pair by itself: two that cut one text at different places are mixed up when asked for together
    # (findings/lm-eval-cuts-of-one-text-are-mixed-up.sh).
    for pair, answer in zip(PAIRS, pairs):
        (nats, greedy), = peer.loglikelihood(asked("loglikelihood", [pair]), disable_tqdm=True)
        assert answer["loglikelihood"] == pytest.approx(nats, rel=1e-5, abs=1e-4), pair
        assert answer["is_greedy"] == greedy
    rolling = peer.loglikelihood_rolling(asked("loglikelihood_rolling", [(t,) for t in TEXTS]), disable_tqdm=True)
    for text, answer, nats in zip(TEXTS, texts, rolling):
        assert answer["loglikelihood"] == pytest.approx(nats, rel=1e-5, abs=1e-4), text
        assert answer["tokens"] == len(peer.tok_encode(text))
    return rolling


@pytest.mark.parametrize("name", TOKENIZERS)
def test_the_harness_gives_the_same_log_likelihoods_whatever_the_tokenizer_adds(models, name):
    compare(models[name], [], {})


def test_without_a_second_bos_they_are_the_harness_s_with_add_bos_token_false(models):
    folder = models["adds BOS"]
    once = compare(folder, ["--no-bos-twice"], {"add_bos_token": False})
    assert once != harness(folder).loglikelihood_rolling(
        asked("loglikelihood_rolling", [(t,) for t in TEXTS]), disable_tqdm=True)


def test_windows_are_as_long_as_the_model_s_places(tmp_path):
    if not TRAINER.exists():
        pytest.skip(f"{TRAINER} is not built")
    folder = tmp_path / "model"
    save_model(folder, save_tokenizer(folder, *TOKENIZERS["adds BOS"]), places=2600)
    text = "Boris greets nobody, old Anna neither; it is a long winter, near 1914. " * 90
    peer = harness(folder)
    assert 2100 < len(peer.tok_encode(text)) and peer.max_length == 2600
    nats, = peer.loglikelihood_rolling(asked("loglikelihood_rolling", [(text,)]), disable_tqdm=True)
    answer, = score(folder, [{"text": text}])
    assert answer["loglikelihood"] == pytest.approx(nats, rel=1e-5)


def test_a_job_reports_the_harness_s_perplexity_and_its_name_and_version(models, tmp_path):
    folder = models["adds BOS"]
    (tmp_path / "texts.jsonl").write_text("".join(json.dumps({"text": t}) + "\n" for t in TEXTS))
    (tmp_path / "job.yaml").write_text(f"""version: 1
name: perplexity
kind: evaluate
model: {{from: {folder}}}
data: {{validation: [{{path: {tmp_path}/texts.jsonl}}]}}
train: {{precision: fp32}}
""")

    def report(out, *more):
        ran = subprocess.run([TRAINER, "run", tmp_path / "job.yaml", "--out", tmp_path / out, *more],
                             capture_output=True, text=True)
        assert ran.returncode == 0, ran.stderr
        return json.loads((tmp_path / out / "checkpoints/perplexity/step-00000001-a1/report.json").read_text())

    requests = asked("loglikelihood_rolling", [(t,) for t in TEXTS])
    twice, once = report("twice"), report("once", "--set", "evaluation.bos_twice=false")
    for found, peer in [(twice, harness(folder)), (once, harness(folder, add_bos_token=False))]:
        assert found["setting"]["semantics"] == {"name": "lm-evaluation-harness", "version": lm_eval.__version__}
        nats = sum(peer.loglikelihood_rolling(requests, disable_tqdm=True))
        assert found["results"]["loglikelihood"] == pytest.approx(nats, rel=1e-5)
    assert (twice["setting"]["bos_twice"], once["setting"]["bos_twice"]) == (True, False)
