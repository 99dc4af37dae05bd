"""`model import` beside transformers: what comes in goes out again to the bit, and what a GGUF file holds
is what transformers' own loading makes of it.

    TRAINYARD_BUILD_DIR=build pytest tests/golden/test_import.py
"""

import json
import os
import pathlib
import re
import signal
import subprocess
import tempfile

import pytest

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")
gguf = pytest.importorskip("gguf")
np = pytest.importorskip("numpy")
safetensors_torch = pytest.importorskip("safetensors.torch")

import packages
import tiny_models

REPOSITORY = pathlib.Path(__file__).resolve().parents[2]
BUILD = pathlib.Path(os.environ.get("TRAINYARD_BUILD_DIR", REPOSITORY / "build")).resolve()
TRAINER = BUILD / "bin" / "trainyard-trainer"


@pytest.fixture
def tmp_path():
    """In memory where there is such a place: imports sync every file, and disks are not the matter here."""
    memory = pathlib.Path("/dev/shm")
    with tempfile.TemporaryDirectory(dir=memory if memory.is_dir() else None) as folder:
        yield pathlib.Path(folder)


def tool(*words, check=True):
    run = subprocess.run([TRAINER, "tool", "model", *map(str, words)], capture_output=True, text=True)
    assert not check or run.returncode == 0, run.stderr
    return run


def import_model(source, destination, *more):
    tool("import", source, destination, *more)
    return destination


def same_tensors(ours: dict, theirs: dict):
    assert set(ours) == set(theirs)
    for name, tensor in theirs.items():
        assert ours[name].dtype == tensor.dtype and ours[name].shape == tensor.shape, name
        assert torch.equal(ours[name], tensor), name


@pytest.mark.parametrize("family", tiny_models.CONFIGS)
def test_a_folder_comes_back_to_the_bit(tmp_path, family):
    for dtype in (torch.float32, torch.bfloat16, torch.float16):
        name = str(dtype).split(".")[1]
        source, ours = tmp_path / f"{name}-in", tmp_path / f"{name}-out"
        model = tiny_models.make(family, dtype=dtype)
        # Several shards, of which the index tells.
        model.save_pretrained(source, max_shard_size="40KB")
        assert (source / "model.safetensors.index.json").exists()
        import_model(source, ours)
        assert (ours / "config.json").read_bytes() == (source / "config.json").read_bytes()
        assert {p.name for p in ours.iterdir()} == {"config.json", "model.safetensors"} | (
            {"generation_config.json"} if (source / "generation_config.json").exists() else set())
        loaded = tiny_models.load(family, ours)
        assert loaded.dtype == dtype
        same_tensors(loaded.state_dict(), model.state_dict())


def test_an_index_whose_total_size_counts_the_headers_is_read_with_a_note(tmp_path):
    tiny_models.make("llama").save_pretrained(tmp_path / "in", max_shard_size="40KB")
    index = tmp_path / "in/model.safetensors.index.json"
    told = json.loads(index.read_text())
    told["metadata"]["total_size"] = sum(p.stat().st_size for p in (tmp_path / "in").glob("*.safetensors"))
    index.write_text(json.dumps(told))
    said = tool("import", tmp_path / "in", tmp_path / "out").stderr
    assert re.search(r"note: .*index\.json: metadata\.total_size is \d+", said), said
    same_tensors(tiny_models.load("llama", tmp_path / "out").state_dict(),
                 tiny_models.load("llama", tmp_path / "in").state_dict())


def test_a_key_that_is_not_read_is_named_and_one_that_is_not_built_is_refused(tmp_path):
    tiny_models.make("llama").save_pretrained(tmp_path / "in")
    path = tmp_path / "in/config.json"
    config = json.loads(path.read_text())
    path.write_text(json.dumps(config | {"moon_phase": 3, "is_causal": False}))
    for words in (("inspect", tmp_path / "in"), ("import", tmp_path / "in", tmp_path / "out")):
        said = tool(*words).stderr
        assert "moon_phase" in said and "is_causal is false" in said, said
    path.write_text(json.dumps(config | {"per_layer_config": {"0": {"mlp_bias": True}}}))
    refused = tool("inspect", tmp_path / "in", check=False)
    assert refused.returncode and "per_layer_config" in refused.stderr, refused.stderr


def test_a_git_lfs_pointer_is_called_one_whatever_file_it_stands_for(tmp_path):
    pointer = f"version https://git-lfs.github.com/spec/v1\noid sha256:{'0a' * 32}\nsize 9876543\n"
    tiny_models.make("llama").save_pretrained(tmp_path / "in")
    for name in ("tokenizer.json", "model.safetensors", "config.json"):
        (tmp_path / "in" / name).write_text(pointer)
        refused = tool("inspect", tmp_path / "in", check=False)
        assert refused.returncode and f"{name} is a Git LFS pointer" in refused.stderr, refused.stderr
    for name, words in (("model.gguf", ("model", "inspect")), ("a.txt", ("data", "check")),
                        ("a.jsonl", ("data", "check"))):
        (tmp_path / name).write_text(pointer)
        refused = subprocess.run([TRAINER, "tool", *words, tmp_path / name], capture_output=True, text=True)
        assert refused.returncode and f"{name} is a Git LFS pointer" in refused.stderr, refused.stderr


def test_types_are_changed_as_transformers_does(tmp_path):
    model = tiny_models.make("qwen3")
    model.save_pretrained(tmp_path / "in")
    for name, dtype in (("bf16", torch.bfloat16), ("f16", torch.float16), ("f32", torch.float32)):
        loaded = tiny_models.load("qwen3", import_model(tmp_path / "in", tmp_path / name, "--type", name))
        assert loaded.dtype == dtype
        same_tensors(loaded.state_dict(), model.to(dtype).state_dict())
        model = model.float() if name == "f32" else tiny_models.make("qwen3")


def test_a_bare_bert_keeps_its_pooler(tmp_path):
    model = transformers.BertModel(tiny_models.config("bert"))
    model.save_pretrained(tmp_path / "in")
    ours = transformers.BertModel.from_pretrained(import_model(tmp_path / "in", tmp_path / "out"))
    same_tensors(ours.state_dict(), model.state_dict())


def test_minilm_comes_back_to_the_bit(tmp_path):
    source = packages.minilm()
    ours = import_model(source, tmp_path / "out")
    same_tensors(transformers.AutoModel.from_pretrained(ours).state_dict(),
                 transformers.AutoModel.from_pretrained(source).state_dict())
    assert (ours / "tokenizer.json").read_bytes() == (source / "tokenizer.json").read_bytes()


def stored_in_gguf(family: str, name: str, tensor, config):
    """As llama.cpp's convert_hf_to_gguf.py stores it: that a file is read back is tested on these."""
    if family in ("llama", "mistral") and (".q_proj." in name or ".k_proj." in name):
        heads = config.num_attention_heads if ".q_proj." in name else config.num_key_value_heads
        tensor = tensor.reshape(heads, 2, -1, *tensor.shape[1:]).swapaxes(1, 2).reshape(tensor.shape)
    if family == "gpt2" and name.endswith(("c_attn.weight", "c_proj.weight", "c_fc.weight")):
        tensor = tensor.T
    if family.startswith("gemma") and name.endswith("norm.weight"):
        tensor = tensor + 1
    return tensor.contiguous()


def write_gguf(path: pathlib.Path, family: str, model, type_name: str = "F32"):
    """A model with llama.cpp's names, the way its converter does it."""
    config = model.config
    architecture = {"mistral": "llama", "gemma3_text": "gemma3"}.get(family, family)
    writer = gguf.GGUFWriter(path, architecture)
    writer.add_block_count(config.num_hidden_layers)
    writer.add_context_length(config.max_position_embeddings)
    writer.add_embedding_length(config.hidden_size)
    writer.add_feed_forward_length(config.intermediate_size if family != "gpt2" else 4 * config.hidden_size)
    writer.add_head_count(config.num_attention_heads)
    writer.add_vocab_size(config.vocab_size)
    writer.add_token_list([f"t{i}" for i in range(config.vocab_size)])  # where transformers counts GPT-2's
    if family in ("gpt2", "bert"):
        writer.add_layer_norm_eps(config.layer_norm_epsilon if family == "gpt2" else config.layer_norm_eps)
    else:
        writer.add_head_count_kv(config.num_key_value_heads)
        writer.add_layer_norm_rms_eps(config.rms_norm_eps)
        rope = config.rope_parameters
        writer.add_rope_freq_base(rope.get("full_attention", rope)["rope_theta"])
        head_dim = getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads
        writer.add_rope_dimension_count(head_dim)
        writer.add_key_length(head_dim)
        writer.add_value_length(head_dim)
    if family.startswith("gemma"):
        writer.add_sliding_window(config.sliding_window)
    if family == "gemma2":
        writer.add_attn_logit_softcapping(config.attn_logit_softcapping)
        writer.add_final_logit_softcapping(config.final_logit_softcapping)
    key = next(k for k, v in gguf.MODEL_ARCH_NAMES.items() if v == architecture)
    names = gguf.get_tensor_name_map(key, config.num_hidden_layers)
    tied = getattr(config, "tie_word_embeddings", True)
    for name, tensor in model.state_dict().items():
        if name.startswith("cls.") or (name == "lm_head.weight" and tied):
            continue
        tensor = stored_in_gguf(family, name, tensor.float(), config).numpy()
        kind = gguf.GGMLQuantizationType[type_name if tensor.ndim > 1 else "F32"]
        stored = names.get_name(name, try_suffixes=(".weight", ".bias"))
        assert stored is not None, name
        writer.add_tensor(stored, gguf.quantize(tensor, kind), raw_dtype=kind)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


GGUF_FAMILIES = ["llama", "mistral", "qwen2", "qwen3", "gemma2", "gemma3_text", "gpt2"]


@pytest.mark.parametrize("family", GGUF_FAMILIES)
def test_a_gguf_file_gives_the_model_it_was_made_of(tmp_path, family):
    model = tiny_models.make(family)
    write_gguf(tmp_path / "model.gguf", family, model)
    ours = tiny_models.load(family, import_model(tmp_path / "model.gguf", tmp_path / "out"))
    exact = 0 if not family.startswith("gemma") else 1e-7  # 1 + w has lost bits of w
    for name, tensor in model.state_dict().items():
        assert torch.allclose(ours.state_dict()[name], tensor, rtol=0, atol=exact), name
    # The whole computation, so also what the config says.
    ids = torch.arange(3, 60).reshape(1, -1)
    model.eval(), ours.eval()
    with torch.no_grad():
        assert torch.allclose(ours(ids).logits, model(ids).logits, rtol=0, atol=2e-5)


# What transformers takes for granted, whatever the file says.
TAKEN = {"qwen3": {"head_dim": 128}, "gpt2": {"n_positions": 1024}}


@pytest.mark.parametrize("family", GGUF_FAMILIES)
@pytest.mark.parametrize("type_name", ["F16", "BF16", "Q8_0", "Q4_0"])
def test_a_gguf_file_is_read_as_transformers_does(tmp_path, family, type_name):
    write_gguf(tmp_path / "model.gguf", family, tiny_models.make(family, **TAKEN.get(family, {})), type_name)
    folder = import_model(tmp_path / "model.gguf", tmp_path / "out")
    theirs = tiny_models.load("llama" if family == "mistral" else family, tmp_path, gguf_file="model.gguf")
    ours = tiny_models.load(family, folder, dtype=torch.float32)
    same_tensors(ours.state_dict(), theirs.state_dict())
    # In the file, matrices of 16 bits stay so.
    stored = safetensors_torch.load_file(folder / "model.safetensors")
    wide = {"F16": torch.float16, "BF16": torch.bfloat16}.get(type_name, torch.float32)
    assert {t.dtype for t in stored.values() if t.ndim > 1} == {wide}


def test_a_bert_in_a_gguf_file(tmp_path):
    model = transformers.BertModel(tiny_models.config("bert"), add_pooling_layer=False)
    write_gguf(tmp_path / "model.gguf", "bert", model)
    folder = import_model(tmp_path / "model.gguf", tmp_path / "out")
    ours = transformers.BertModel.from_pretrained(folder, add_pooling_layer=False)
    same_tensors(ours.state_dict(), model.state_dict())
    assert ours.config.layer_norm_eps == model.config.layer_norm_eps


def test_smollm2_is_what_transformers_makes_of_its_file(tmp_path):
    file = packages.smollm2_gguf()
    folder = import_model(file, tmp_path / "out")
    theirs = transformers.AutoModelForCausalLM.from_pretrained(file.parent, gguf_file=file.name, dtype=torch.float32)
    ours = transformers.AutoModelForCausalLM.from_pretrained(folder)
    assert ours.dtype == torch.float32
    same_tensors(ours.state_dict(), theirs.state_dict())
    for key in ("hidden_size", "num_hidden_layers", "num_attention_heads", "num_key_value_heads", "intermediate_size",
                "max_position_embeddings", "vocab_size", "tie_word_embeddings", "bos_token_id", "eos_token_id"):
        assert getattr(ours.config, key) == getattr(theirs.config, key), key
    assert ours.config.rope_parameters["rope_theta"] == theirs.config.rope_parameters["rope_theta"]
    assert ours.config.rms_norm_eps == pytest.approx(theirs.config.rms_norm_eps, rel=1e-7)


def spoilt(folder: pathlib.Path, **changes) -> pathlib.Path:
    """A tiny llama whose tensors and config are changed: to None is without."""
    model = tiny_models.make("llama")
    model.save_pretrained(folder)
    tensors = {**model.state_dict(), **changes.get("tensors", {})}
    safetensors_torch.save_file({k: v.clone() for k, v in tensors.items() if v is not None},
                                folder / "model.safetensors", metadata={"format": "pt"})
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, **changes.get("config", {})}))
    return folder


NORM = "model.norm.weight"
REFUSED = {
    "missing": ({"tensors": {NORM: None}}, [NORM]),
    "extra": ({"tensors": {"model.layers.2.x": torch.ones(1)}}, ["model.layers.2.x"]),
    "shape": ({"tensors": {NORM: torch.ones(63)}}, [NORM, "[63]", "[64]"]),
    "dtype": ({"tensors": {NORM: torch.ones(64, dtype=torch.int64)}}, [NORM, "I64"]),
    "nan": ({"tensors": {NORM: torch.full((64,), torch.nan)}}, [NORM, "finite"]),
    "inf": ({"tensors": {NORM: torch.full((64,), -torch.inf)}}, [NORM, "finite"]),
    "architecture": ({"config": {"model_type": "mamba"}}, ["mamba", "llama"]),
    "layers": ({"config": {"num_hidden_layers": 3}}, ["model.layers.2."]),
    "activation": ({"config": {"hidden_act": "relu"}}, ["hidden_act", "relu"]),
}


@pytest.mark.parametrize("what", REFUSED)
def test_a_model_that_does_not_fit_is_refused(tmp_path, what):
    changes, said = REFUSED[what]
    run = tool("import", spoilt(tmp_path / "in", **changes), tmp_path / "out", check=False)
    assert run.returncode in (1, 2) and not run.stdout
    assert str(tmp_path / "in") in run.stderr and all(word in run.stderr for word in said), run.stderr
    assert [p.name for p in tmp_path.iterdir()] == ["in"]  # nothing begun is left


def test_cut_files_are_refused(tmp_path):
    folder = spoilt(tmp_path / "in")
    whole = (folder / "model.safetensors").read_bytes()
    write_gguf(tmp_path / "whole.gguf", "llama", tiny_models.make("llama"))
    whole_gguf = (tmp_path / "whole.gguf").read_bytes()
    for share in (0, 0.001, 0.3, 0.999):
        (folder / "model.safetensors").write_bytes(whole[:int(len(whole) * share)])
        (tmp_path / "cut.gguf").write_bytes(whole_gguf[:int(len(whole_gguf) * share)])
        for source, name in ((folder, "model.safetensors"), (tmp_path / "cut.gguf", "cut.gguf")):
            run = tool("import", source, tmp_path / "out", check=False)
            assert run.returncode == 1 and name in run.stderr, run.stderr


def test_a_tokenizer_of_another_model_is_refused(tmp_path):
    folder = spoilt(tmp_path / "in")
    (folder / "tokenizer.json").write_bytes((packages.minilm() / "tokenizer.json").read_bytes())
    run = tool("import", folder, tmp_path / "out", check=False)
    assert run.returncode == 2 and "30522" in run.stderr and "96" in run.stderr, run.stderr


def test_legacy_vocabularies_become_a_tokenizer(tmp_path):
    source = packages.minilm()
    for name in ("config.json", "model.safetensors", "vocab.txt", "tokenizer_config.json"):
        (tmp_path / "in").mkdir(exist_ok=True)
        (tmp_path / "in" / name).write_bytes((source / name).read_bytes())
    tokenizers = pytest.importorskip("tokenizers")
    made = tokenizers.Tokenizer.from_file(str(import_model(tmp_path / "in", tmp_path / "out") / "tokenizer.json"))
    own = tokenizers.Tokenizer.from_file(str(source / "tokenizer.json"))
    own.no_truncation(), own.no_padding()
    for text in ("Hello, world!", "naïve cafés in 東京", "unbelievable antidisestablishmentarianism"):
        assert made.encode(text).ids == own.encode(text).ids


@pytest.mark.parametrize("stop", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_to_the_command_line_leaves_nothing(tmp_path, stop):
    model = tiny_models.make("llama", vocab_size=200_000)  # 100 MB
    model.save_pretrained(tmp_path / "in")
    run = subprocess.Popen([BUILD / "bin" / "trainyard", "model", "import", tmp_path / "in", tmp_path / "out"],
                           stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    while run.poll() is None and not any(".part-" in p.name for p in tmp_path.iterdir()):
        pass
    run.send_signal(stop)
    said = run.communicate()[1].decode()
    # It may have been done before the signal came; then the folder is whole.
    names = sorted(p.name for p in tmp_path.iterdir())
    assert (run.returncode, names) in ((130, ["in"]), (0, ["in", "out"])), said


def test_the_trainer_refers_to_no_unpickler():
    names = subprocess.run(["nm", "-C", "--undefined-only", TRAINER], capture_output=True, text=True, check=True).stdout
    assert "at::" in names
    for word in ("torch::load", "torch::jit::load", "pickle", "torch::jit::Unpickler"):
        assert word not in names, word


def test_others_may_read_what_the_umask_lets_them(tmp_path):
    source = tmp_path / "in"
    tiny_models.make("llama").save_pretrained(source)
    for umask, folder_mode, file_mode in ((0o022, 0o755, 0o644), (0o077, 0o700, 0o600)):
        destination = tmp_path / f"{umask:o}" / "model"
        for words in (("import", source, destination),
                      ("export", source, destination.with_suffix(".gguf"), "--format", "gguf")):
            subprocess.run([TRAINER, "tool", "model", *map(str, words)], check=True, capture_output=True, umask=umask)
        assert destination.stat().st_mode & 0o777 == destination.parent.stat().st_mode & 0o777 == folder_mode
        assert {path.stat().st_mode & 0o777 for path in destination.iterdir()} == {file_mode}
        assert destination.with_suffix(".gguf").stat().st_mode & 0o777 == file_mode
