"""20,000 lines of mixed text (text_lines.py) under the tokenizers of SmolLM2, Qwen3, Llama-3 and BERT:
the same ids and the same text back as from the `tokenizers` package; a stream gives the decoded whole;
bytes that are no text are refused with their place.

    TRAINYARD_BUILD_DIR=build pytest tests/golden/test_text_lines.py
"""

import json
import random

import pytest

tokenizers = pytest.importorskip("tokenizers")

import packages  # noqa: E402
from test_text_vocabulary import vocabulary_of_file  # noqa: E402
from text_lines import mixed_lines  # noqa: E402
from text_peer import Peer  # noqa: E402

LINES = 20_000
# Special tokens spelled out: one token each when text is parsed for them, else text like any other.
SPELLED = ["a<|im_end|>b", "<|im_start|>user\nhi<|endoftext|>", "x<|eot_id|> <|begin_of_text|>", "[MASK][SEP] [CLS]x",
           "<think>\n</think>", "<tool_call>{}</tool_call>", "<|im_end|", "[UNK] <unk> <s>"]


@pytest.fixture(scope="module", params=["smollm2", "qwen3", "llama3", "minilm"])
def model(request, tmp_path_factory):
    with Peer() as peer:
        if request.param == "smollm2":
            path = tmp_path_factory.mktemp("smollm2") / "tokenizer.json"
            peer.get("gguf", vocabulary=vocabulary_of_file(packages.smollm2_gguf()), to=str(path))
        else:
            path = getattr(packages, request.param)() / "tokenizer.json"
        peer.get("tokenizer", path=str(path))
        theirs = tokenizers.Tokenizer.from_file(str(path))
        theirs.no_padding()
        theirs.no_truncation()
        yield request.param, peer, theirs


@pytest.fixture(scope="module")
def lines(tmp_path_factory):
    made = mixed_lines(LINES - len(SPELLED)) + SPELLED
    path = tmp_path_factory.mktemp("lines") / "lines.json"
    path.write_text(json.dumps(made))
    return made, path


@pytest.mark.parametrize("parse", [True, False])
def test_lines_become_the_packages_ids_and_come_back_as_its_text(model, lines, tmp_path, parse):
    name, peer, theirs = model
    texts, path = lines
    answer = peer.get("lines", path=str(path), to=str(tmp_path / "answer.json"), parse=parse)
    assert answer == {"lines": LINES, "streamed": LINES}
    ours = json.loads((tmp_path / "answer.json").read_text())
    theirs.encode_special_tokens = not parse
    ids = [encoding.ids for encoding in theirs.encode_batch_fast(texts, add_special_tokens=False)]
    assert ours["ids"] == ids
    assert ours["decoded"] == theirs.decode_batch(ids, skip_special_tokens=False)
    print(f"{name}: {LINES} lines, {sum(map(len, texts))} characters, {sum(map(len, ids))} tokens")


def test_bytes_that_are_no_text_are_refused_with_their_place(model, lines):
    name, peer, _ = model
    rng = random.Random(name)
    for text in rng.sample(lines[0], 200):
        data = bytearray(text.encode() + "東é😀x".encode())
        if rng.random() < 0.5:
            data[rng.randrange(len(data))] = rng.choice([0xff, 0xc0, 0x80, 0xed, 0xf5])
        else:
            del data[rng.randrange(len(data)):]
        answer = peer.ask("encode_hex", hex=data.hex())
        try:
            data.decode()
            assert "ids" in answer
        except UnicodeDecodeError as error:
            assert answer["code"] == "INVALID_ARGUMENT"
            assert answer["error"].endswith(f"not UTF-8 at byte {error.start}"), (answer, error)
