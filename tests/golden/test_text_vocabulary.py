"""GGUF vocabularies and vocab.txt beside transformers: the tokenizer.json we make of them gives the
same ids.

    TRAINYARD_BUILD_DIR=build pytest tests/golden/test_text_vocabulary.py
"""

import json

import pytest

transformers = pytest.importorskip("transformers")
tokenizers = pytest.importorskip("tokenizers")

import packages  # noqa: E402
from text_lines import mixed_lines  # noqa: E402
from text_peer import Peer  # noqa: E402

LINES = 3000
SPACE = "\u2581"


@pytest.fixture
def peer():
    with Peer() as running:
        yield running


def ids_of(peer, path, lines, **options) -> list[list[int]]:
    peer.get("tokenizer", path=str(path))
    return peer.get("encode", texts=lines, **options)["ids"]


def assert_same(lines, ours, theirs):
    for line, a, b in zip(lines, ours, theirs, strict=True):
        assert a == b, line


def vocabulary_of_file(path) -> dict:
    gguf = pytest.importorskip("gguf")
    fields = gguf.GGUFReader(path).fields
    names = {"model": "model", "pre": "pre", "tokens": "tokens", "token_type": "token_types", "scores": "scores",
             "merges": "merges", "bos_token_id": "bos_id", "eos_token_id": "eos_id", "unknown_token_id": "unk_id",
             "padding_token_id": "pad_id", "add_bos_token": "add_bos", "add_eos_token": "add_eos",
             "add_space_prefix": "add_space_prefix"}
    found = {ours: fields[f"tokenizer.ggml.{theirs}"].contents() for theirs, ours in names.items()
             if f"tokenizer.ggml.{theirs}" in fields}
    return found


def test_smollm2_is_tokenized_as_transformers_does_from_the_same_file(peer, tmp_path):
    """transformers 5.23 does not know how "smollm" cuts text and takes GPT-2's rule. The model's own
    tokenizer and llama.cpp first set digits apart, each by itself, which also shows in the white space
    before them: with that set right all ids agree, and without it those of lines without digits."""
    gguf = packages.smollm2_gguf()
    vocabulary = vocabulary_of_file(gguf)
    peer.get("gguf", vocabulary=vocabulary, to=str(tmp_path / "tokenizer.json"))
    theirs = transformers.AutoTokenizer.from_pretrained(gguf.parent, gguf_file=gguf.name)
    lines = mixed_lines(LINES) + ["<|im_start|>user\nhi<|im_end|>", "<repo_name>x<file_sep>"]
    ours = ids_of(peer, tmp_path / "tokenizer.json", lines, add=True)
    plain = [(line, a, b) for line, a, b in zip(lines, ours, theirs(lines)["input_ids"]) if not any(map(str.isnumeric, line))]
    assert len(plain) > LINES // 3
    assert_same(*zip(*plain))
    theirs.backend_tokenizer.pre_tokenizer = tokenizers.pre_tokenizers.Sequence(
        [tokenizers.pre_tokenizers.Digits(individual_digits=True), tokenizers.pre_tokenizers.ByteLevel(add_prefix_space=False)])
    assert_same(lines, ours, theirs(lines)["input_ids"])


def test_what_is_exported_to_gguf_encodes_the_same(peer, tmp_path):
    lines = mixed_lines(LINES)
    for name, folder in [("qwen3", packages.qwen3()), ("llama3", packages.llama3()), ("minilm", packages.minilm())]:
        vocabulary = peer.get("to_gguf", path=str(folder / "tokenizer.json"), special={})
        size = len(vocabulary["tokens"])
        assert size == len(vocabulary["token_types"]) >= tokenizers.Tokenizer.from_file(
            str(folder / "tokenizer.json")).get_vocab_size()
        back = tmp_path / f"{name}.json"
        peer.get("gguf", vocabulary=vocabulary, to=str(back))
        ours = ids_of(peer, back, lines)
        assert_same(lines, ours, ids_of(peer, folder / "tokenizer.json", lines))


@pytest.fixture(scope="module")
def sentencepiece():
    """A SentencePiece-like BPE: its vocabulary in GGUF's words, scores by rank."""
    trained = tokenizers.Tokenizer(tokenizers.models.BPE(unk_token="<unk>", byte_fallback=True, fuse_unk=True))
    trained.pre_tokenizer = tokenizers.pre_tokenizers.Metaspace(replacement=SPACE, prepend_scheme="first")
    special = ["<unk>", "<s>", "</s>"] + [f"<0x{byte:02X}>" for byte in range(256)]
    trained.train_from_iterator(mixed_lines(LINES), tokenizers.trainers.BpeTrainer(
        vocab_size=4000, special_tokens=special, show_progress=False, limit_alphabet=600))
    tokens = [trained.id_to_token(i) for i in range(trained.get_vocab_size())]
    types = [2, 3, 3] + [6] * 256 + [1] * (len(tokens) - 259)
    return {"model": "llama", "pre": "default", "tokens": tokens, "token_types": types,
            "scores": [-float(i) for i in range(len(tokens))], "bos_id": 1, "eos_id": 2, "unk_id": 0}


@pytest.mark.parametrize("flags", [{}, {"add_bos": False}, {"add_eos": True}])
def test_sentencepiece_is_what_transformers_makes_of_the_same_tokens(peer, tmp_path, sentencepiece, flags):
    """Where a text begins with no space: then transformers' reader puts none in front, as SentencePiece and
    llama.cpp do (test_text_sentencepiece.py)."""
    peer.get("gguf", vocabulary=sentencepiece | flags, to=str(tmp_path / "tokenizer.json"))
    tokens, scores = sentencepiece["tokens"], sentencepiece["scores"]
    vocab = {token: i for i, token in enumerate(tokens)}
    merges = transformers.tokenization_utils_base.generate_merges(vocab, dict(zip(tokens, scores)))
    theirs = transformers.LlamaTokenizer(vocab=vocab, merges=merges, add_bos_token=flags.get("add_bos", True),
                                         add_eos_token=flags.get("add_eos", False))
    lines = [line for line in mixed_lines(LINES) if not line.startswith(" ")]
    assert len(lines) > LINES // 2
    ours = ids_of(peer, tmp_path / "tokenizer.json", lines, add=True)
    assert_same(lines, ours, theirs(lines)["input_ids"])


def test_sentencepiece_comes_back_from_export(peer, tmp_path, sentencepiece):
    first, second = tmp_path / "first.json", tmp_path / "second.json"
    peer.get("gguf", vocabulary=sentencepiece, to=str(first))
    vocabulary = peer.get("to_gguf", path=str(first), special={"bos": 1, "eos": 2, "unk": 0})
    assert (vocabulary["tokens"], vocabulary["token_types"]) == (sentencepiece["tokens"], sentencepiece["token_types"])
    peer.get("gguf", vocabulary=vocabulary, to=str(second))
    lines = mixed_lines(LINES)
    assert_same(lines, ids_of(peer, second, lines, add=True), ids_of(peer, first, lines, add=True))


def test_bert_in_ggufs_words_encodes_as_minilm(peer, tmp_path):
    folder = packages.minilm()
    tokens = (folder / "vocab.txt").read_text().splitlines()
    control = {"[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"}
    spelled = [t if t in control else t[2:] if t.startswith("##") else SPACE + t for t in tokens]
    vocabulary = {"model": "bert", "tokens": spelled, "token_types": [3 if t in control else 1 for t in tokens]}
    peer.get("gguf", vocabulary=vocabulary, to=str(tmp_path / "tokenizer.json"))
    lines = mixed_lines(LINES) + ["a [MASK] b"]
    theirs = transformers.AutoTokenizer.from_pretrained(folder)
    ours = ids_of(peer, tmp_path / "tokenizer.json", lines, add=True)
    assert_same(lines, ours, theirs(lines)["input_ids"])


@pytest.mark.parametrize("config", [{}, {"do_lower_case": False}, {"strip_accents": False},
                                    {"tokenize_chinese_chars": False}])
def test_vocab_txt_is_read_as_berts_tokenizer_reads_it(peer, tmp_path, config):
    folder = packages.minilm()
    (tmp_path / "config.json").write_text(json.dumps(config))
    peer.get("legacy", files={"vocab.txt": str(folder / "vocab.txt"), "tokenizer_config.json": str(tmp_path / "config.json")},
             to=str(tmp_path / "tokenizer.json"))
    theirs = transformers.BertTokenizer(str(folder / "vocab.txt"), **config)
    lines = mixed_lines(LINES) + ["a [MASK] b", "Étude ÉTUDE"]
    ours = ids_of(peer, tmp_path / "tokenizer.json", lines, add=True)
    assert_same(lines, ours, theirs(lines)["input_ids"])
