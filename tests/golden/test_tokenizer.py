"""Our tokenizer beside the Python library's: the same text must give the same vocabulary and the
same ids. The recording in tokenizer/ is committed and read by worker_text_test; here it is made
anew with the installed library, and a larger text is compared on the spot.

    TRAINYARD_BUILD_DIR=build pytest tests/golden/test_tokenizer.py
    python tests/golden/test_tokenizer.py        # writes tokenizer/golden.json again
"""

import json
import os
import pathlib
import subprocess

import pytest

tokenizers = pytest.importorskip("tokenizers")

HERE = pathlib.Path(__file__).resolve().parent
REPOSITORY = HERE.parents[1]
BUILD = pathlib.Path(os.environ.get("TRAINYARD_BUILD_DIR", REPOSITORY / "build"))

CASES = [
    "", " ", "\n", "\n\n \n", "Hello, world!", " leading and trailing ", "don't won't I'll we've",
    "12345 3.14159", "a\n\nb\r\n\tc", "naïve café – “quoted” …", "😀👩‍👩‍👧🇫🇷", "東京タワー 한국어 العربية",
    "x" * 300, "the end<|endoftext|>the start", "\u0000\u0001\x7f", "e\u0301 \u00a0 \u2003 \ufeff",
]


def record(text: str, vocab_size: int) -> dict:
    tokenizer = tokenizers.Tokenizer(tokenizers.models.BPE())
    tokenizer.pre_tokenizer = tokenizers.pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = tokenizers.decoders.ByteLevel()
    trainer = tokenizers.trainers.BpeTrainer(
        vocab_size=vocab_size, min_frequency=2, special_tokens=["<|endoftext|>"], show_progress=False,
        initial_alphabet=tokenizers.pre_tokenizers.ByteLevel.alphabet())
    tokenizer.train_from_iterator([text], trainer)
    cases = CASES + [text[:2000]]
    return {"vocab_size": vocab_size, "vocab": tokenizer.get_vocab(),
            "cases": [case(tokenizer, text) for text in cases]}


def case(tokenizer, text: str) -> dict:
    tokenizer.encode_special_tokens = True
    plain = tokenizer.encode(text)
    tokenizer.encode_special_tokens = False
    parsed = tokenizer.encode(text)
    byte_of = [0]
    for character in text:
        byte_of.append(byte_of[-1] + len(character.encode()))
    return {"text": text, "ids": plain.ids, "ids_with_specials": parsed.ids,
            "ranges": [[byte_of[begin], byte_of[end]] for begin, end in plain.offsets],
            "decoded": tokenizer.decode(parsed.ids, skip_special_tokens=True)}


def test_committed_recording_is_what_the_library_makes_today():
    text = (HERE / "tokenizer/text.txt").read_text()
    assert record(text, 340) == json.loads((HERE / "tokenizer/golden.json").read_text())


# Other numbers of threads must give the same tokenizer.
@pytest.mark.parametrize("vocab_size,threads", [(512, 1), (4096, 3)])
def test_same_vocabulary_and_ids_on_tiny_shakespeare(tmp_path, vocab_size, threads):
    source = REPOSITORY.parent / "shared/data/text/tinyshakespeare.txt"
    program = BUILD / "tests/worker_text_test"
    if not source.exists():
        pytest.skip(f"{source} is not there")
    if not program.exists():
        pytest.skip(f"{program} is not built")
    text = source.read_text()
    (tmp_path / "text.txt").write_text(text)
    (tmp_path / "golden.json").write_text(json.dumps(record(text, vocab_size)))
    answer = subprocess.run([program, "--gtest_filter=Golden.*"], capture_output=True, text=True,
                            env=os.environ | {"TRAINYARD_GOLDEN_DIR": str(tmp_path),
                                              "RAYON_NUM_THREADS": str(threads)})
    assert answer.returncode == 0 and "PASSED" in answer.stdout, answer.stdout + answer.stderr


if __name__ == "__main__":
    sample = (HERE / "tokenizer/text.txt").read_text()
    golden = json.dumps(record(sample, 340), ensure_ascii=False, sort_keys=True)
    (HERE / "tokenizer/golden.json").write_text(golden + "\n")
