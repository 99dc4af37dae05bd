"""SentencePiece vocabularies beside SentencePiece itself, where they come as tokenizer.model, and beside
llama.cpp, where they come in a GGUF file.

    TRAINYARD_BUILD_DIR=build pytest tests/golden/test_text_sentencepiece.py
"""

import io
import json
import os
import pathlib
import subprocess
import unicodedata

import pytest

sentencepiece = pytest.importorskip("sentencepiece")
tokenizers = pytest.importorskip("tokenizers")

import packages  # noqa: E402
from text_lines import mixed_lines  # noqa: E402
from text_peer import Peer  # noqa: E402

REPOSITORY = pathlib.Path(__file__).resolve().parents[2]
BUILD = pathlib.Path(os.environ.get("TRAINYARD_BUILD_DIR", REPOSITORY / "build")).resolve()
LINES = 1500
PLAIN = {"normalization_rule_name": "identity", "remove_extra_whitespaces": False}
SYMBOLS = {"user_defined_symbols": ["<x>", "<|im_start|>", "x\u2581y"], "control_symbols": ["<ctl>"]}
# As families have them (llama, gemma), and each rule moved by itself.
MODELS = {
    "llama": {"model_type": "bpe", "byte_fallback": True, "split_digits": True, "allow_whitespace_only_pieces": True, **PLAIN},
    "gemma": {"model_type": "bpe", "byte_fallback": True, "add_dummy_prefix": False, **PLAIN, "pad_id": 0, "eos_id": 1,
              "bos_id": 2, "unk_id": 3, "user_defined_symbols": ["\n", "\n\n", "\u2581\u2581", "\u2581\u2581\u2581", "<html>"]},
    "unigram": {"model_type": "unigram", "byte_fallback": True, **PLAIN},
    "bare": {"model_type": "unigram", "add_dummy_prefix": False, **PLAIN},
    "extra spaces": {"model_type": "bpe", "normalization_rule_name": "identity"},
    "symbols, bpe": {"model_type": "bpe", "normalization_rule_name": "identity", **SYMBOLS},
    "symbols, unigram": {"model_type": "unigram", **PLAIN, **SYMBOLS},
    "nfkc": {"model_type": "unigram"},
    "folded": {"model_type": "bpe", "normalization_rule_name": "nmt_nfkc_cf"},
    "suffix": {"model_type": "unigram", "treat_whitespace_as_suffix": True, "normalization_rule_name": "identity"},
}
SPACES = ["", " ", "  ", "   ", "\n", " the cat", "  the", "the ", "the  ", "the  cat", " \n the", "\n\n\n a", "\t tab",
          "a   b    c     d", "\u2581a", " \u2581a", "a\u2581b", "x\u2581\u2581y", "\u3000a", "a\u00a0b", "\ufeffa", "\u00e9 e\u0301"]
MARKED = ["a<x>b", "a <x>  b ", "<x><x>", " <x> b", "x y", "ax yb", "a<s>b", "<s>", "</s> x", "<unk>", "<ctl> a", "<0x41>",
          "<|im_start|>user\nhi", "<html> ", "1 2 34"]


@pytest.fixture(scope="module")
def lines():
    return mixed_lines(LINES)


@pytest.fixture(scope="module")
def trained(lines, tmp_path_factory):
    """A model by its name in MODELS: its path."""
    folder = tmp_path_factory.mktemp("models")
    (folder / "lines.txt").write_text("\n".join(line.replace("\n", " ") for line in lines if line.strip()))
    made = {}

    def train(name):
        if name not in made:
            content = io.BytesIO()
            sentencepiece.SentencePieceTrainer.train(
                input=str(folder / "lines.txt"), model_writer=content, vocab_size=2000, hard_vocab_limit=False,
                character_coverage=0.98, num_threads=1, minloglevel=2, **MODELS[name])
            made[name] = folder / f"{len(made)}.model"
            made[name].write_bytes(content.getvalue())
        return made[name]
    return train


@pytest.fixture
def peer():
    with Peer() as running:
        yield running


def read(peer, tmp_path, model, **files):
    paths = {"tokenizer.model": str(model)}
    for name, content in files.items():
        (tmp_path / f"{name}.json").write_text(json.dumps(content))
        paths[f"{name}.json"] = str(tmp_path / f"{name}.json")
    answer = peer.get("legacy", files=paths, model_type="llama", to=str(tmp_path / "tokenizer.json"))
    peer.get("tokenizer", path=str(tmp_path / "tokenizer.json"))
    return answer


def assert_same(lines, ours, theirs):
    for line, a, b in zip(lines, ours, theirs, strict=True):
        assert a == b, repr(line)


def assert_as_likely(theirs, lines, ours, wanted):
    """The same pieces, or others that Unigram finds as likely: SentencePiece adds up in float32."""
    others = 0
    for line, a, b in zip(lines, ours, wanted, strict=True):
        if a == b:
            continue
        others += 1
        likely = [sum(theirs.get_score(i) for i in ids) for ids in (a, b)]
        assert abs(likely[0] - likely[1]) <= 1e-6 * abs(likely[1]) and theirs.decode(a) == theirs.decode(b), repr(line)
        assert not any(theirs.is_unknown(i) or theirs.is_control(i) for i in set(a) ^ set(b)), repr(line)
    assert others <= len(lines) // 100


def comparable(name, lines):
    """The `tokenizers` library applies a model's rules for characters to whole clusters, and then loses a
    mark behind a character that a rule changes: rules are compared on text without marks and clusters."""
    if name not in ("nfkc", "folded"):
        return lines
    odd = ("Mn", "Mc", "Me", "Cf", "Lo", "Sk")
    return [line for line in lines if "\r" not in line and not any(unicodedata.category(c) in odd for c in line)]


@pytest.mark.parametrize("name", MODELS)
def test_a_tokenizer_model_encodes_and_decodes_as_sentencepiece_does(peer, tmp_path, trained, lines, name):
    read(peer, tmp_path, trained(name))
    theirs = sentencepiece.SentencePieceProcessor(model_file=str(trained(name)))
    texts = comparable(name, SPACES + MARKED + lines)
    assert len(texts) > LINES // 3
    ours = peer.get("encode", texts=texts, parse=False)["ids"]
    assert_as_likely(theirs, texts, ours, theirs.encode(texts))
    (tmp_path / "texts.json").write_text(json.dumps(texts))
    peer.get("lines", path=str(tmp_path / "texts.json"), to=str(tmp_path / "answer.json"), parse=False)
    decoded = json.loads((tmp_path / "answer.json").read_text())["decoded"]
    known = [i for i, ids in enumerate(ours) if theirs.unk_id() not in ids]  # what is unknown is shown otherwise
    assert_same([texts[i] for i in known], [decoded[i] for i in known], [theirs.decode(ours[i]) for i in known])


@pytest.mark.parametrize("config,before,after", [({}, ["<s>"], []), ({"add_bos_token": False}, [], []),
                                                 ({"add_eos_token": True}, ["<s>"], ["</s>"])])
def test_a_tokenizer_model_has_around_it_what_the_config_says(peer, tmp_path, trained, config, before, after):
    read(peer, tmp_path, trained("llama"), tokenizer_config=config)
    theirs = sentencepiece.SentencePieceProcessor(model_file=str(trained("llama")))
    around = [[theirs.piece_to_id(piece) for piece in pieces] for pieces in (before, after)]
    ids, = peer.get("encode", texts=[" the cat"], add=True)["ids"]
    assert ids == around[0] + theirs.encode(" the cat") + around[1]


@pytest.mark.parametrize("name", ["llama", "unigram"])
def test_added_tokens_beside_a_tokenizer_model_have_their_ids(peer, tmp_path, trained, name):
    """Behind the pieces, with a hole, and in place of a piece."""
    theirs = sentencepiece.SentencePieceProcessor(model_file=str(trained(name)))
    size = theirs.get_piece_size()
    token = {"lstrip": False, "rstrip": False, "single_word": False, "normalized": False}
    answer = read(peer, tmp_path, trained(name), tokenizer_config={"added_tokens_decoder": {
        str(size): {"content": "<|user|>", "special": True, **token},
        str(size + 3): {"content": "<tool>", "special": False, **token},
        "300": {"content": "<|renamed|>", "special": True, **token}}})
    assert any("<|renamed|>" in note for note in answer["notes"])
    ids, = peer.get("encode", texts=["<|user|>a<tool><|renamed|>"])["ids"]
    assert ids == [size, *theirs.encode("a"), size + 3, 300]
    assert theirs.encode("a")[0] not in (0, 300)


def in_ggufs_words(model, **flags) -> dict:
    theirs = sentencepiece.SentencePieceProcessor(model_file=str(model))
    ids = range(theirs.get_piece_size())
    symbols = sum((kind.get("user_defined_symbols", []) for kind in MODELS.values()), [])
    user = [theirs.id_to_piece(i) in symbols for i in ids]
    types = [2 if theirs.is_unknown(i) else 3 if theirs.is_control(i) else 6 if theirs.is_byte(i) else 4 if user[i] else 1 for i in ids]
    # llama.cpp's converter spells the user's pieces as they stand in text.
    tokens = [theirs.id_to_piece(i).replace("\u2581", " ") if user[i] else theirs.id_to_piece(i) for i in ids]
    return {"model": "llama", "pre": "default", "tokens": tokens, "token_types": types,
            "scores": [theirs.get_score(i) for i in ids], "bos_id": theirs.bos_id(), "eos_id": theirs.eos_id(),
            "unk_id": theirs.unk_id(), **flags}


def write_gguf(path, vocabulary):
    gguf = pytest.importorskip("gguf")
    writer = gguf.GGUFWriter(path, "llama")
    writer.add_tokenizer_model("llama")
    writer.add_tokenizer_pre("default")
    writer.add_token_list(vocabulary["tokens"])
    writer.add_token_scores(vocabulary["scores"])
    writer.add_token_types(vocabulary["token_types"])
    writer.add_bos_token_id(vocabulary["bos_id"])
    writer.add_eos_token_id(vocabulary["eos_id"])
    writer.add_unk_token_id(vocabulary["unk_id"])
    if "add_space_prefix" in vocabulary:
        writer.add_add_space_prefix(vocabulary["add_space_prefix"])
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


@pytest.mark.parametrize("name,flags", [("llama", {}), ("llama", {"add_space_prefix": False}), ("gemma", {"add_space_prefix": False}),
                                        ("gemma", {"add_space_prefix": True})])
def test_a_gguf_vocabulary_of_sentencepiece_encodes_as_llama_cpp_does(peer, tmp_path, trained, lines, name, flags):
    theirs = pytest.importorskip("llama_oracle").llama_cpp()
    vocabulary = in_ggufs_words(trained(name), **flags)
    write_gguf(tmp_path / "vocabulary.gguf", vocabulary)
    peer.get("gguf", vocabulary=vocabulary, to=str(tmp_path / "tokenizer.json"))
    peer.get("tokenizer", path=str(tmp_path / "tokenizer.json"))
    texts = SPACES + MARKED + lines
    for special in (False, True):
        assert_same(texts, peer.get("encode", texts=texts, add=special, parse=special)["ids"],
                    theirs.tokenize(tmp_path / "vocabulary.gguf", texts, special))


def test_a_space_in_front_goes_to_a_gguf_file_and_comes_back(peer, tmp_path, trained, lines):
    """From tokenizer.model by way of tokenizer.json."""
    read(peer, tmp_path, trained("llama"))
    vocabulary = peer.get("to_gguf", path=str(tmp_path / "tokenizer.json"), special={"bos": 1, "eos": 2})
    assert vocabulary["add_space_prefix"]
    peer.get("gguf", vocabulary=vocabulary, to=str(tmp_path / "back.json"))
    peer.get("tokenizer", path=str(tmp_path / "back.json"))
    theirs = sentencepiece.SentencePieceProcessor(model_file=str(trained("llama")))
    assert_same(SPACES + lines, peer.get("encode", texts=SPACES + lines, parse=False)["ids"], theirs.encode(SPACES + lines))


def test_llama2s_own_file_goes_to_a_gguf_file_and_back_and_is_what_llama_cpp_reads(peer, tmp_path, lines):
    own = packages.llama2() / "tokenizer.json"
    vocabulary = peer.get("to_gguf", path=str(own), special={"bos": 1, "eos": 2, "unk": 0})
    write_gguf(tmp_path / "vocabulary.gguf", vocabulary)
    texts = SPACES + lines
    wanted = [encoding.ids for encoding in tokenizers.Tokenizer.from_file(str(own)).encode_batch(texts, add_special_tokens=False)]
    peer.get("gguf", vocabulary=vocabulary, to=str(tmp_path / "back.json"))
    peer.get("tokenizer", path=str(tmp_path / "back.json"))
    assert_same(texts, peer.get("encode", texts=texts)["ids"], wanted)
    theirs = pytest.importorskip("llama_oracle").llama_cpp()
    # Special tokens spelled out (WikiText has <unk>) are text to llama.cpp here.
    plain = [(text, ids) for text, ids in zip(texts, wanted, strict=True) if not {0, 1, 2} & set(ids)]
    assert len(plain) > 0.9 * len(texts)
    texts, wanted = map(list, zip(*plain))
    assert_same(texts, theirs.tokenize(tmp_path / "vocabulary.gguf", texts), wanted)


@pytest.mark.parametrize("share", [0.1, 0.5, 0.99])
def test_a_cut_tokenizer_model_is_refused_by_its_place(peer, tmp_path, trained, share):
    whole = trained("nfkc").read_bytes()
    (tmp_path / "cut.model").write_bytes(whole[:int(len(whole) * share)])
    answer = peer.ask("legacy", files={"tokenizer.model": str(tmp_path / "cut.model")}, to=str(tmp_path / "x.json"))
    assert answer["code"] == "INVALID_ARGUMENT" and "tokenizer.model: at byte" in answer["error"], answer


JOB = """version: 1
name: pieces
kind: pretrain
model: {{config: {{model_type: llama, hidden_size: 32, num_hidden_layers: 1, num_attention_heads: 2, intermediate_size: 32,
                 max_position_embeddings: 32}}}}
tokenizer: {{from: {tokenizer}}}
data: {{train: [{{path: {folder}/train.txt, format: text}}]}}
train: {{max_steps: 1, global_batch_size: 2, max_length: 16, precision: fp32}}
evaluation: {{eval_steps: 0}}
"""


@pytest.mark.parametrize("as_folder", [True, False])
def test_a_job_takes_its_tokenizer_from_a_tokenizer_model(tmp_path, trained, lines, as_folder):
    """By itself or in a folder, whose named chat templates come along."""
    trainer = BUILD / "bin/trainyard-trainer"
    if not trainer.exists():
        pytest.skip(f"{trainer} is not built")
    folder = tmp_path / "tokenizer"
    (folder / "additional_chat_templates").mkdir(parents=True)
    (folder / "tokenizer.model").write_bytes(trained("llama").read_bytes())
    (folder / "additional_chat_templates/rag.jinja").write_text("{{ documents }}")
    (tmp_path / "train.txt").write_text("\n".join(lines))
    (tmp_path / "job.yaml").write_text(JOB.format(tokenizer=folder if as_folder else folder / "tokenizer.model", folder=tmp_path))
    run = subprocess.run([trainer, "run", tmp_path / "job.yaml", "--out", tmp_path / "out"], capture_output=True, text=True)
    assert run.returncode == 0, run.stderr
    weights, = (tmp_path / "out").glob("**/model.safetensors")
    made = weights.parent / "tokenizer.json"
    theirs = sentencepiece.SentencePieceProcessor(model_file=str(trained("llama")))
    assert tokenizers.Tokenizer.from_file(str(made)).encode(" the cat").ids == [theirs.bos_id(), *theirs.encode(" the cat")]
    assert (made.parent / "additional_chat_templates/rag.jinja").exists() == as_folder
