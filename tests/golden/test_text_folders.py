"""Folders with the files from before tokenizer.json, or with files beside it, as transformers' AutoTokenizer
reads them: the same ids, the same special tokens.

    TRAINYARD_BUILD_DIR=build pytest tests/golden/test_text_folders.py
"""

import json
import os
import pathlib
import subprocess

import pytest

transformers = pytest.importorskip("transformers")
tokenizers = pytest.importorskip("tokenizers")

from text_lines import mixed_lines  # noqa: E402
from text_peer import Peer  # noqa: E402

REPOSITORY = pathlib.Path(__file__).resolve().parents[2]
BUILD = pathlib.Path(os.environ.get("TRAINYARD_BUILD_DIR", REPOSITORY / "build")).resolve()
LINES = 1000
FLAT = {"lstrip": False, "rstrip": False, "single_word": False, "normalized": False}
ROBERTA = ["<s>", "<pad>", "</s>", "<unk>", "<mask>"]
MARKED = ["a <mask> b", "the end<|endoftext|>", "<|user|>hi<|end|> x", "a<tool> b", "[MASK] x[SEP]", " the", "<s>a</s>",
          "a  <left> b", "caf\u0065\u0301"]


@pytest.fixture(scope="module")
def lines():
    return mixed_lines(LINES) + MARKED


@pytest.fixture(scope="module")
def byte_level(lines):
    """Of special tokens: vocabulary and merges."""
    def train(special):
        trained = tokenizers.ByteLevelBPETokenizer()
        trained.train_from_iterator(lines, vocab_size=1500, special_tokens=special, show_progress=False)
        model = json.loads(trained.to_str())["model"]
        return model["vocab"], [merge if isinstance(merge, str) else " ".join(merge) for merge in model["merges"]]
    return train


@pytest.fixture(scope="module")
def word_piece(lines):
    def train(lowercase):
        trained = tokenizers.BertWordPieceTokenizer(lowercase=lowercase)
        trained.train_from_iterator(lines, vocab_size=1500, limit_alphabet=500, show_progress=False)
        vocab = trained.get_vocab()
        return sorted(vocab, key=vocab.get)
    return train


@pytest.fixture
def peer():
    with Peer() as running:
        yield running


def write(folder, **files):
    """Files by their names, with "__" for a dot; what is no text is JSON."""
    folder.mkdir(exist_ok=True)
    for name, content in files.items():
        text = content if isinstance(content, str) else json.dumps(content, ensure_ascii=False)
        (folder / name.replace("__", ".")).write_text(text, encoding="utf-8")
    return folder


def read(peer, folder):
    files = {path.name: str(path) for path in folder.iterdir() if path.name != "config.json"}
    model_type = json.loads((folder / "config.json").read_text())["model_type"]
    answer = peer.get("legacy", files=files, model_type=model_type, to=str(folder.parent / "made.json"))
    peer.get("tokenizer", path=str(folder.parent / "made.json"))
    return answer


def assert_as_transformers(peer, folder, lines):
    answer = read(peer, folder)
    theirs = transformers.AutoTokenizer.from_pretrained(folder)
    ours = peer.get("encode", texts=lines, add=True)["ids"]
    for line, a, b in zip(lines, ours, theirs(lines)["input_ids"], strict=True):
        assert a == b, repr(line)
    named = {name: token for name, token in theirs.special_tokens_map.items() if isinstance(token, str)}
    assert {name: token for name, token in answer["special_tokens"].items() if name in named} == named
    return answer


GPT2 = {
    "nothing beside it": {},
    "added_tokens.json": {"added_tokens__json": {"<|user|>": 1502, "<|end|>": 1501, "<tool>": 1500},
                          "special_tokens_map__json": {"pad_token": "<|end|>", "additional_special_tokens": ["<|user|>"]}},
    "a map with flags": {"special_tokens_map__json": {"mask_token": {"content": "<left>", **FLAT, "lstrip": True}},
                         "tokenizer_config__json": {"add_prefix_space": True, "model_max_length": 32}},
    "a map before the config": {"special_tokens_map__json": {"eos_token": "<|end|>"},
                                "tokenizer_config__json": {"eos_token": "<|user|>", "tokenizer_class": "GPT2Tokenizer"}},
    "the decoder alone": {"special_tokens_map__json": {"eos_token": "<|user|>"},
                          "tokenizer_config__json": {"eos_token": "<|end|>", "added_tokens_decoder": {
                              "1500": {"content": "<tool>", "special": False, **FLAT},
                              "1501": {"content": "<|end|>", "special": True, **FLAT}}}},
    "bos around a text": {"tokenizer_config__json": {"add_bos_token": True, "tokenizer_class": "GPT2TokenizerFast"}},
}


@pytest.mark.parametrize("name", GPT2)
def test_gpt2_files_are_read_with_those_beside_them(peer, tmp_path, byte_level, lines, name):
    vocab, merges = byte_level(["<|endoftext|>"])
    folder = write(tmp_path / "in", config__json={"model_type": "gpt2"}, vocab__json=vocab,
                   merges__txt="#version: 0.2\n" + "\n".join(merges) + "\n", **GPT2[name])
    answer = assert_as_transformers(peer, folder, lines)
    assert bool(answer["notes"]) == (name == "the decoder alone"), answer


@pytest.mark.parametrize("family,special", [("roberta", ROBERTA), ("qwen2", ["<|endoftext|>"])])
def test_the_class_comes_from_the_models_type(peer, tmp_path, byte_level, lines, family, special):
    vocab, merges = byte_level(special)
    folder = write(tmp_path / "in", config__json={"model_type": family}, vocab__json=vocab, merges__txt="\n".join(merges))
    if family == "roberta":
        # transformers 5 forgets what RoBERTa's mask does with the space before it; the file can say it.
        ours = read(peer, folder)
        assert peer.get("encode", texts=["a <mask> b"], add=True)["ids"] == [
            [vocab[token] for token in ("<s>", "a", "<mask>", "\u0120b", "</s>")]]
        assert ours["special_tokens"]["cls_token"] == "<s>"
        write(folder, special_tokens_map__json={"mask_token": {"content": "<mask>", **FLAT, "lstrip": True}})
    assert_as_transformers(peer, folder, lines)


BERT = {"bert": {}, "distilbert": {"tokenizer_config__json": {"do_lower_case": False}},
        "added": {"added_tokens__json": {"<|user|>": 1500, "<tool>": 1501},
                  "special_tokens_map__json": {"additional_special_tokens": ["<|user|>"], "cls_token": "[CLS]"}}}


@pytest.mark.parametrize("name", BERT)
def test_vocab_txt_is_read_with_the_files_beside_it(peer, tmp_path, word_piece, lines, name):
    tokens = word_piece(name != "distilbert")
    folder = write(tmp_path / "in", config__json={"model_type": "distilbert" if name == "distilbert" else "bert"},
                   vocab__txt="\n".join(tokens) + "\n", **BERT[name])
    assert_as_transformers(peer, folder, lines)


def test_ids_with_a_hole_before_them_stay_those_of_the_file(peer, tmp_path, byte_level):
    """transformers 5 counts on from the vocabulary; the model's rows are where the file says."""
    vocab, merges = byte_level(["<|endoftext|>"])
    folder = write(tmp_path / "in", config__json={"model_type": "gpt2"}, vocab__json=vocab, merges__txt="\n".join(merges),
                   added_tokens__json={"<|user|>": 1510, "<tool>": 1507})
    read(peer, folder)
    assert peer.get("encode", texts=["<|user|><tool>"])["ids"] == [[1510, 1507]]


@pytest.mark.parametrize("files,says", [
    ({"added_tokens__json": {"<x>": 5}}, "the id 5"), ({"added_tokens__json": {"<x>": "5"}}, "added_tokens.json"),
    ({"added_tokens__json": {"<x>": -1}}, "added_tokens.json"), ({"special_tokens_map__json": "[1]"}, "special_tokens_map.json"),
    ({"tokenizer_config__json": {"added_tokens_decoder": {"x": {"content": "<x>"}}}}, 'added_tokens_decoder["x"]')])
def test_what_breaks_the_format_is_refused_by_name(peer, tmp_path, byte_level, files, says):
    vocab, merges = byte_level(["<|endoftext|>"])
    folder = write(tmp_path / "in", vocab__json=vocab, merges__txt="\n".join(merges), **files)
    answer = peer.ask("legacy", files={path.name: str(path) for path in folder.iterdir()}, to=str(tmp_path / "x.json"))
    assert answer["code"] == "INVALID_ARGUMENT" and says in answer["error"], answer


def tool(*words):
    program = BUILD / "bin/trainyard-trainer"
    if not program.exists():
        pytest.skip(f"{program} is not built")
    return subprocess.run([program, "tool", *map(str, words)], capture_output=True, text=True)


@pytest.fixture(scope="module")
def small_model(tmp_path_factory):
    """A model's folder without a tokenizer."""
    torch = pytest.importorskip("torch")
    folder = tmp_path_factory.mktemp("model")
    torch.manual_seed(0)
    transformers.GPT2LMHeadModel(transformers.GPT2Config(
        vocab_size=1510, n_positions=16, n_embd=8, n_layer=1, n_head=2, bos_token_id=0, eos_token_id=0)).save_pretrained(folder)
    return folder


@pytest.fixture
def folder(tmp_path, small_model):
    for name in ("config.json", "model.safetensors"):
        (tmp_path / "in").mkdir(exist_ok=True)
        (tmp_path / "in" / name).write_bytes((small_model / name).read_bytes())
    return tmp_path / "in"


def test_tokens_that_files_name_beside_a_tokenizer_json_are_added_to_it(tmp_path, folder, byte_level, lines):
    """And where it has all of them it stays as it is, to the byte."""
    vocab, merges = byte_level(["<|endoftext|>"])
    made = tokenizers.ByteLevelBPETokenizer(vocab, [tuple(merge.split()) for merge in merges])
    made.save(str(folder / "tokenizer.json"))
    write(folder, special_tokens_map__json={"eos_token": "<|endoftext|>", "pad_token": "<|end|>"},
          tokenizer_config__json={"tokenizer_class": "PreTrainedTokenizerFast"})
    assert tool("model", "import", folder, tmp_path / "out").returncode == 0
    ours = tokenizers.Tokenizer.from_file(str(tmp_path / "out/tokenizer.json"))
    theirs = transformers.AutoTokenizer.from_pretrained(folder)
    assert ours.token_to_id("<|end|>") == theirs.pad_token_id == 1500
    for line in lines:
        assert ours.encode(line).ids == theirs(line)["input_ids"], repr(line)
    assert tool("model", "import", tmp_path / "out", tmp_path / "again").returncode == 0
    assert (tmp_path / "again/tokenizer.json").read_bytes() == (tmp_path / "out/tokenizer.json").read_bytes()


def test_named_chat_templates_travel_through_import_and_export(tmp_path, folder, byte_level):
    gguf = pytest.importorskip("gguf")
    vocab, merges = byte_level(["<|endoftext|>"])
    write(folder, vocab__json=vocab, merges__txt="\n".join(merges), chat_template__jinja="the first {{ eos_token }}")
    write(folder / "additional_chat_templates", tool_use__jinja="with tools", rag__jinja="with documents")
    assert "chat_template default, rag, tool_use" in tool("model", "inspect", folder).stdout
    run = tool("model", "export", folder, tmp_path / "out.gguf", "--format", "gguf")
    assert run.returncode == 0, run.stderr
    fields = gguf.GGUFReader(tmp_path / "out.gguf").fields
    assert fields["tokenizer.chat_templates"].contents() == ["rag", "tool_use"]
    assert fields["tokenizer.chat_template.tool_use"].contents() == "with tools"
    for source in (folder, tmp_path / "out.gguf"):
        out = tmp_path / source.stem
        run = tool("model", "import", source, out.with_suffix(".out"))
        assert run.returncode == 0, run.stderr
        theirs = transformers.AutoTokenizer.from_pretrained(out.with_suffix(".out"))
        assert theirs.chat_template == {"default": "the first {{ eos_token }}", "tool_use": "with tools", "rag": "with documents"}


def test_a_folder_from_before_tokenizer_json_comes_in_whole(tmp_path, folder, byte_level):
    """With the class's own tokens for templates, though no file names them."""
    vocab, merges = byte_level(["<|endoftext|>"])
    write(folder, vocab__json=vocab, merges__txt="\n".join(merges), added_tokens__json={"<|user|>": 1500},
          chat_template__jinja="{{ raise_exception('SHOWN ' ~ eos_token) }}")
    assert "SHOWN <|endoftext|>" in tool("generate", "--model", folder, "--chat", "x").stderr
    run = tool("model", "import", folder, tmp_path / "out")
    assert run.returncode == 0, run.stderr
    theirs = transformers.AutoTokenizer.from_pretrained(tmp_path / "out")
    assert theirs.convert_tokens_to_ids("<|user|>") == 1500 and theirs.eos_token == "<|endoftext|>"
    assert tool("tokenizer", "decode", "--tokenizer", folder, 1500).stdout == "<|user|>\n"


def test_a_processors_template_is_said_not_to_be_used(tmp_path, folder, byte_level):
    vocab, merges = byte_level(["<|endoftext|>"])
    write(folder, vocab__json=vocab, merges__txt="\n".join(merges), chat_template__json={"chat_template": "x"})
    assert "chat_template.json is not used" in tool("model", "inspect", folder).stderr
    write(folder, chat_template__jinja="y")
    assert "not used" not in tool("model", "inspect", folder).stderr
