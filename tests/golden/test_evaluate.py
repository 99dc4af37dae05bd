"""Log-likelihoods and perplexities are those of EleutherAI's lm-evaluation-harness: its rules, written
out here in plain Python over transformers in float32, against `tool score` and a job of kind
evaluate, on a random model whose windows are short.

    TRAINYARD_BUILD_DIR=build pytest tests/golden/test_evaluate.py
"""

import json
import math
import os
import pathlib
import re
import subprocess

import pytest

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")
tokenizers = pytest.importorskip("tokenizers")

REPOSITORY = pathlib.Path(__file__).resolve().parents[2]
BUILD = pathlib.Path(os.environ.get("TRAINYARD_BUILD_DIR", REPOSITORY / "build"))
TRAINER = BUILD / "bin/trainyard-trainer"
PLACES = 24

PAIRS = [("The winter is long", " and cold"), ("The winter is ", "long"), ("", "The winter"),
         ("A line\n\n", "another"), ("caf\u00e9\u00a0 ", "\u00e9t\u00e9"), ("x", "y"),
         ("ends a document <|end|>", " and goes on"), ("long " * 30, "short"), ("one", " two" * 20)]
TEXTS = ["The winter is long.", " a b \n\n c ", "caf\u00e9\u3000\u00e9t\u00e9 \U0001F600",
         "In the winter near the old garden, Anna greets Boris.\n" * 9]


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    if not TRAINER.exists():
        pytest.skip(f"{TRAINER} is not built")
    folder = tmp_path_factory.mktemp("evaluate") / "model"
    tokenizer = tokenizers.Tokenizer(tokenizers.models.BPE())
    tokenizer.pre_tokenizer = tokenizers.pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = tokenizers.decoders.ByteLevel()
    trainer = tokenizers.trainers.BpeTrainer(
        vocab_size=320, special_tokens=["<|end|>", "<|begin|>"], show_progress=False,
        initial_alphabet=tokenizers.pre_tokenizers.ByteLevel.alphabet())
    tokenizer.train_from_iterator(TEXTS + [a + b for a, b in PAIRS], trainer)
    transformers.PreTrainedTokenizerFast(tokenizer_object=tokenizer, bos_token="<|begin|>",
                                         eos_token="<|end|>").save_pretrained(folder)
    torch.manual_seed(5)
    config = transformers.LlamaConfig(
        vocab_size=tokenizer.get_vocab_size(), hidden_size=32, intermediate_size=64, num_hidden_layers=2,
        num_attention_heads=4, num_key_value_heads=2, max_position_embeddings=PLACES, bos_token_id=1,
        eos_token_id=0, initializer_range=0.3)
    transformers.LlamaForCausalLM(config).save_pretrained(folder)
    return folder


class Peer:
    """TemplateLM and HFLM of the harness, as far as they score."""

    def __init__(self, folder, max_length=PLACES):
        self.tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
        self.model = transformers.AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()
        self.max_length = max_length
        self.prefix = self.tokenizer.bos_token_id

    def encode(self, text):
        return self.tokenizer.encode(text, add_special_tokens=False)

    @torch.no_grad()
    def score(self, context, continuation):
        ids = (context + continuation)[-(self.max_length + 1):][:-1]
        logprobs = self.model(torch.tensor([ids])).logits[0].log_softmax(-1)[-len(continuation):]
        target = torch.tensor(continuation)
        greedy = bool((logprobs.argmax(-1) == target).all())
        return logprobs.gather(1, target[:, None]).sum().item(), greedy

    def pair(self, context, continuation):
        if context == "":
            return self.score([self.prefix], self.encode(continuation))
        spaces = len(context) - len(context.rstrip())
        if spaces > 0:
            context, continuation = context[:-spaces], context[-spaces:] + continuation
        whole, first = self.encode(context + continuation), self.encode(context)
        return self.score(first, whole[len(first):])

    def rolling(self, text):
        tokens, size = self.encode(text), self.max_length
        first = min(size, len(tokens))
        windows = [([self.prefix] + tokens[:first - 1], tokens[:first])]
        done = first
        while done < len(tokens):
            count = min(len(tokens) - done, size)
            end = done + count
            windows.append((tokens[end - size - 1:end - 1], tokens[end - count:end]))
            done = end
        disjoint = [(a[:len(a) - (len(b) - 1)], b) for a, b in windows]
        return sum(self.score(a, b)[0] for a, b in disjoint), len(tokens)


def ask(folder, lines, *more):
    file = folder.parent / "lines.jsonl"
    file.write_text("".join(json.dumps(line) + "\n" for line in lines))
    out = subprocess.run([TRAINER, "tool", "score", "--model", folder, *more, file], check=True,
                         capture_output=True, text=True).stdout
    return [json.loads(line) for line in out.splitlines()]


def test_continuations_are_scored_as_the_harness_does(model):
    peer = Peer(model)
    got = ask(model, [{"context": a, "continuation": b} for a, b in PAIRS])
    assert len(got) == len(PAIRS)
    for (context, continuation), answer in zip(PAIRS, got):
        nats, greedy = peer.pair(context, continuation)
        assert answer["loglikelihood"] == pytest.approx(nats, rel=1e-5, abs=1e-4), (context, continuation)
        assert answer["is_greedy"] == greedy


def test_the_likeliest_continuation_is_greedy(model):
    peer = Peer(model)
    pairs = []
    for context in [text[:end] for text in TEXTS for end in range(3, 20)]:
        ids = peer.encode(context.rstrip())
        with torch.no_grad():
            best = peer.model(torch.tensor([ids])).logits[0, -1].argmax().item()
        text = peer.tokenizer.decode([best])
        # Some tokens are half a character, or would join the context.
        if peer.encode(context.rstrip() + text) == ids + [best]:
            pairs.append({"context": context.rstrip(), "continuation": text})
    assert pairs
    assert all(answer["is_greedy"] for answer in ask(model, pairs))


@pytest.mark.parametrize("max_length", [PLACES, 7, 1])
def test_rolling_windows_are_the_harness_s(model, max_length):
    peer = Peer(model, max_length)
    for text, answer in zip(TEXTS, ask(model, [{"text": t} for t in TEXTS], "--max-length", str(max_length))):
        nats, tokens = peer.rolling(text)
        assert answer["tokens"] == tokens
        assert answer["loglikelihood"] == pytest.approx(nats, rel=1e-5, abs=1e-4)
        assert answer["words"] == len(re.split(r"\s+", text))
        assert answer["bytes"] == len(text.encode())


def test_a_job_of_kind_evaluate_reports_the_harness_s_perplexities(model, tmp_path):
    (tmp_path / "texts.jsonl").write_text("".join(json.dumps({"text": t}) + "\n" for t in TEXTS))
    (tmp_path / "job.yaml").write_text(f"""version: 1
name: perplexity
kind: evaluate
model: {{from: {model}}}
data: {{validation: [{{path: {tmp_path}/texts.jsonl}}]}}
train: {{precision: fp32}}
""")
    done = subprocess.run([TRAINER, "run", tmp_path / "job.yaml", "--out", tmp_path / "out"],
                          capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    report = json.loads((tmp_path / "out/checkpoints/perplexity/step-00000001-a1/report.json").read_text())
    peer = Peer(model)
    nats = sum(peer.rolling(text)[0] for text in TEXTS)
    words = sum(len(re.split(r"\s+", text)) for text in TEXTS)
    count = sum(len(text.encode()) for text in TEXTS)
    results = report["results"]
    assert results["loglikelihood"] == pytest.approx(nats, rel=1e-5)
    assert results["word_perplexity"] == pytest.approx(math.exp(-nats / words), rel=1e-4)
    assert results["byte_perplexity"] == pytest.approx(math.exp(-nats / count), rel=1e-4)
    assert results["bits_per_byte"] == pytest.approx(-nats / count / math.log(2), rel=1e-5)
    assert report["setting"]["max_length"] == PLACES
    assert report["setting"]["prefix_token"] == "<|begin|>"
