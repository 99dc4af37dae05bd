"""`model export --format gguf` beside the package gguf and transformers: the file holds the model's tensors in
llama.cpp's layout, in the blocks that the package makes, and both read the model out of it.

    TRAINYARD_BUILD_DIR=build pytest tests/golden/test_gguf_export.py
"""

import os
import subprocess

import pytest

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")
gguf = pytest.importorskip("gguf")
np = pytest.importorskip("numpy")

import packages
import tiny_models
from test_import import GGUF_FAMILIES, TAKEN, TRAINER, import_model, same_tensors, stored_in_gguf, tmp_path, tool  # noqa: F401


def export(source, destination, *more):
    tool("export", source, destination, "--format", "gguf", *more)
    return destination


def test_the_command_line_takes_models_in_and_out(tmp_path):
    tiny_models.make("llama").save_pretrained(tmp_path / "in")

    def trainyard(*words):
        run = subprocess.run([TRAINER.parent / "trainyard", "model", *map(str, words)], capture_output=True, text=True,
                             env={**os.environ, "TRAINYARD_HOME": str(tmp_path / "home")})
        return run.returncode, run.stdout, run.stderr

    assert trainyard("import", tmp_path / "in", tmp_path / "bf16", "--type", "bf16")[:2] == (0, f"{tmp_path}/bf16\n")
    assert trainyard("export", tmp_path / "bf16", tmp_path / "m.gguf", "--format", "gguf")[:2] == (0, f"{tmp_path}/m.gguf\n")
    code, said, _ = trainyard("inspect", tmp_path / "m.gguf")
    assert code == 0 and "model_type llama\n" in said and "types F16 16, F32 5\n" in said
    for words, code, what in (
            (("export", tmp_path / "bf16", tmp_path / "m.gguf", "--format", "gguf"), 6, "exists"),
            (("import", tmp_path / "in", tmp_path / "new", "--type", "q8"), 2, "f32, bf16 and f16"),
            (("export", tmp_path / "in", tmp_path / "new", "--format", "zip"), 2, "hf and gguf"),
            (("inspect", tmp_path / "none"), 3, "none"),
            (("import", tmp_path / "in"), 2, "destination")):
        got, _, errors = trainyard(*words)
        assert (got, what in errors) == (code, True), (words, got, errors)
    assert not (tmp_path / "new").exists()


@pytest.mark.parametrize("family", GGUF_FAMILIES)
def test_transformers_reads_the_model_out_of_the_file(tmp_path, family):
    model = tiny_models.make(family, **TAKEN.get(family, {}))
    model.save_pretrained(tmp_path / "in")
    export(tmp_path / "in", tmp_path / "model.gguf", "--type", "f32")
    # GPT-2's size of vocabulary transformers counts among tokens, which this model does not have.
    if family != "gpt2":
        theirs = tiny_models.load("llama" if family == "mistral" else family, tmp_path, gguf_file="model.gguf")
        lost = 1e-7 if family.startswith("gemma") else 0  # 1 + w has fewer bits of w
        for name, tensor in model.state_dict().items():
            assert torch.allclose(theirs.state_dict()[name], tensor, rtol=0, atol=lost), name
    back = tiny_models.load("llama" if family == "mistral" else family,
                            import_model(tmp_path / "model.gguf", tmp_path / "back"))
    ids = torch.arange(3, 60).reshape(1, -1)
    with torch.no_grad():
        assert torch.allclose(back.eval()(ids).logits, model.eval()(ids).logits, rtol=0, atol=2e-5)


@pytest.mark.parametrize("type_name", ["f16", "bf16", "q8_0", "q4_0"])
def test_blocks_are_the_packages(tmp_path, type_name):
    model = tiny_models.make("llama")
    model.save_pretrained(tmp_path / "in")
    reader = gguf.GGUFReader(export(tmp_path / "in", tmp_path / "model.gguf", "--type", type_name))
    names = gguf.get_tensor_name_map(gguf.MODEL_ARCH.LLAMA, model.config.num_hidden_layers)
    stored = {tensor.name: tensor for tensor in reader.tensors}
    for name, tensor in model.state_dict().items():
        theirs = names.get_name(name, try_suffixes=(".weight", ".bias"))
        kind = gguf.GGMLQuantizationType[type_name.upper()]
        if tensor.ndim == 1:
            kind = gguf.GGMLQuantizationType.F32
        elif type_name == "q4_0" and theirs == "output.weight":
            kind = gguf.GGMLQuantizationType.Q8_0  # Q6_K, if rows of 64 were whole blocks
        assert stored[theirs].tensor_type == kind, theirs
        want = gguf.quantize(stored_in_gguf("llama", name, tensor, model.config).numpy(), kind)
        assert stored.pop(theirs).data.tobytes() == want.tobytes(), theirs
    assert not stored


def test_k_blocks_lose_little(tmp_path):
    model = tiny_models.make("qwen2", hidden_size=256, intermediate_size=512, num_hidden_layers=8, head_dim=64)
    model.save_pretrained(tmp_path / "in")
    export(tmp_path / "in", tmp_path / "model.gguf", "--type", "q4_k_m")
    kinds = {tensor.name: tensor.tensor_type.name for tensor in gguf.GGUFReader(tmp_path / "model.gguf").tensors}
    assert kinds["token_embd.weight"] == "Q6_K" and kinds["blk.0.attn_q.weight"] == "Q4_K"
    # llama.cpp's mixture for 8 blocks: the first, the last, and every third from the second on.
    more = [i for i in range(8) if kinds[f"blk.{i}.ffn_down.weight"] == "Q6_K"]
    assert more == [0, 3, 6, 7] and more == [i for i in range(8) if kinds[f"blk.{i}.attn_v.weight"] == "Q6_K"]
    # transformers, and so the package, reads the blocks as we meant them: better than Q4_0 does.
    def error(file):
        theirs = tiny_models.load("qwen2", tmp_path, gguf_file=file).state_dict()
        return sum(((theirs[name] - tensor) ** 2).sum().item()
                   for name, tensor in model.state_dict().items() if ".layers." in name)

    export(tmp_path / "in", tmp_path / "q4_0.gguf", "--type", "q4_0")
    assert 0 < error("model.gguf") < error("q4_0.gguf")


@pytest.mark.parametrize("width, tied, type_name, embedding, head", [
    (256, False, "q4_k_m", "Q4_K", "Q6_K"), (256, True, "q4_k_m", "Q6_K", None),
    (64, False, "q4_k_m", "Q5_0", "Q8_0"), (64, True, "q4_k_m", "Q8_0", None),
    (256, False, "q4_0", "Q4_0", "Q6_K"), (256, True, "q4_0", "Q6_K", None),
    (80, False, "q4_k_m", "F16", "F16"), (64, False, "q8_0", "Q8_0", "Q8_0")])
def test_embedding_and_head_have_the_types_that_llama_quantize_picks(tmp_path, width, tied, type_name, embedding, head):
    tiny_models.make("llama", hidden_size=width, tie_word_embeddings=tied).save_pretrained(tmp_path / "in")
    file = export(tmp_path / "in", tmp_path / "model.gguf", "--type", type_name)
    kinds = {tensor.name: tensor.tensor_type.name for tensor in gguf.GGUFReader(file).tensors}
    assert (kinds["token_embd.weight"], kinds.get("output.weight")) == (embedding, head)


def test_gpt2s_joint_projection_counts_as_a_value_projection(tmp_path):
    tiny_models.make("gpt2", n_embd=256, n_layer=8).save_pretrained(tmp_path / "in")
    file = export(tmp_path / "in", tmp_path / "model.gguf", "--type", "q4_k_m")
    kinds = {tensor.name: tensor.tensor_type.name for tensor in gguf.GGUFReader(file).tensors}
    assert [i for i in range(8) if kinds[f"blk.{i}.attn_qkv.weight"] == "Q6_K"] == [0, 3, 6, 7]


def test_a_bert_leaves_its_head_behind_and_says_so(tmp_path):
    model = tiny_models.make("bert")
    model.save_pretrained(tmp_path / "in")
    said = tool("export", tmp_path / "in", tmp_path / "model.gguf", "--format", "gguf", "--type", "f32").stderr
    assert "cls.predictions.bias" in said
    back = transformers.BertModel.from_pretrained(import_model(tmp_path / "model.gguf", tmp_path / "back"),
                                                  add_pooling_layer=False)
    same_tensors(back.state_dict(), model.bert.state_dict())


def test_llama3s_rotary_embedding_survives(tmp_path):
    scaling = {"rope_type": "llama3", "rope_theta": 500000.0, "factor": 32.0, "low_freq_factor": 1.0,
               "high_freq_factor": 4.0, "original_max_position_embeddings": 8192}
    model = tiny_models.make("llama", rope_parameters=scaling, head_dim=64, max_position_embeddings=131072)
    model.save_pretrained(tmp_path / "in")
    file = export(tmp_path / "in", tmp_path / "model.gguf", "--type", "f32")
    back = tiny_models.load("llama", import_model(file, tmp_path / "back"))
    assert back.config.rope_parameters == pytest.approx(scaling)
    same_tensors(back.state_dict(), model.state_dict())


def test_what_llama_cpp_would_compute_otherwise_is_refused(tmp_path):
    for family, changes, said in (
            ("gemma2", {"query_pre_attn_scalar": 100}, "query_pre_attn_scalar"),
            ("mistral", {"sliding_window": 16}, "sliding window"),
            ("roberta", {}, "roberta")):
        tiny_models.make(family, **changes).save_pretrained(tmp_path / said)
        run = tool("export", tmp_path / said, tmp_path / "model.gguf", "--format", "gguf", check=False)
        assert run.returncode == 1 and said in run.stderr, run.stderr
    assert sorted(p.name for p in tmp_path.iterdir() if p.name.startswith("model")) == []


def test_smollm2s_text_goes_out_as_it_came_in(tmp_path):
    file = packages.smollm2_gguf()
    folder = import_model(file, tmp_path / "folder")
    before = gguf.GGUFReader(file).fields
    for source in (file, folder):
        after = gguf.GGUFReader(export(source, tmp_path / f"{source.stem}.gguf", "--type", "q8_0")).fields
        for key in ("model", "pre", "tokens", "token_type", "merges", "bos_token_id", "eos_token_id"):
            key = f"tokenizer.ggml.{key}"
            assert after[key].contents() == before[key].contents(), (source, key)
        assert after["tokenizer.chat_template"].contents() == before["tokenizer.chat_template"].contents()
