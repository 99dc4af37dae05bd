"""Exported GGUF files in llama.cpp: it loads each of them and computes what the model computed, and what it could not is refused
by the name of the field. And the other way: a key of a file means to us what it means to llama.cpp.

    TRAINYARD_BUILD_DIR=build pytest tests/golden/test_gguf_llama_cpp.py
"""

import json

import pytest

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")
gguf = pytest.importorskip("gguf")
tokenizers = pytest.importorskip("tokenizers")

import tiny_models
from llama_oracle import LlamaCppError, llama_cpp
from test_gguf_export import export
from test_import import import_model, tmp_path, tool  # noqa: F401

IDS = torch.randint(3, 96, (1, 100), generator=torch.Generator().manual_seed(5))


class GgmlGelu(torch.nn.Module):
    """GELU as ggml's kernels for CPUs have it: looked up in a table from float16 to float16, outside of which it is 0 or x."""

    def forward(self, x):
        table = torch.nn.functional.gelu(x.half().float(), approximate="tanh").half().float()
        return torch.where(x <= -10, torch.zeros_like(x), torch.where(x >= 10, x, table))


def as_ggml(model):
    """The model with ggml's GELU, where it has one."""
    for module in model.modules():
        for name in ("act_fn", "act", "intermediate_act_fn"):
            if "gelu" in type(getattr(module, name, None)).__name__.lower():
                setattr(module, name, GgmlGelu())
    return model.eval()


def outputs(model):
    """Logits, or what a model without a head gives."""
    with torch.no_grad():
        output = as_ggml(model)(IDS)
    return (output.logits if hasattr(output, "logits") else output.last_hidden_state)[0]


def of_llama_cpp(file, family="llama"):
    return (llama_cpp().hidden if family == "bert" else llama_cpp().logits)(file, IDS[0].tolist())


# Of the largest output. A value that float16 could round either way falls as llama.cpp's float32 sums fall: a step of 2^-11 there.
EXACT, BY_TABLE = 1e-5, 5e-4


def tolerance(family):
    return BY_TABLE if family.startswith("gemma") or family in ("gpt2", "bert") else EXACT


def same_outputs(ours, theirs, where, most=EXACT):
    far = (ours - theirs).abs().max() / theirs.abs().max()
    assert far < most, (where, far)


def yarn(**more):
    return {"rope_parameters": {"rope_type": "yarn", "rope_theta": 10000.0, "factor": 4.0,
                                "original_max_position_embeddings": 32, **more}}


LINEAR = {"rope_type": "linear", "factor": 4.0}
DEFAULT = {"rope_type": "default"}


def llama3(original):
    return {"rope_parameters": {"rope_type": "llama3", "rope_theta": 10000.0, "factor": 8.0, "low_freq_factor": 1.0,
                                "high_freq_factor": 4.0, "original_max_position_embeddings": original}, "head_dim": 32}


def gemma3_ropes(full, sliding):
    return {"rope_parameters": {"full_attention": {"rope_theta": 1e6, **full},
                                "sliding_attention": {"rope_theta": 1e4, **sliding}}}


FULL, SLIDING = "full_attention", "sliding_attention"
EXPORTED = {
    "llama": ("llama", {}),
    "llama tied": ("llama", {"tie_word_embeddings": True}),
    "llama with biases": ("llama", {"attention_bias": True, "mlp_bias": True}),
    "llama with wide heads": ("llama", {"head_dim": 48}),
    "llama linear": ("llama", {"rope_parameters": {"rope_theta": 1e4, **LINEAR}}),
    "llama dynamic": ("llama", {"rope_parameters": {"rope_theta": 1e4, "rope_type": "dynamic", "factor": 4.0}}),
    "llama yarn": ("llama", yarn()),
    "llama yarn attention_factor": ("llama", yarn(attention_factor=1.7)),
    "llama yarn attention_factor 1": ("llama", yarn(attention_factor=1.0)),
    "llama yarn mscale": ("llama", yarn(mscale=0.7, mscale_all_dim=1.3)),
    "llama yarn turns between the same dims": ("llama", yarn(beta_fast=30.0)),
    "llama3": ("llama", llama3(64)),
    "llama3 of a small original length": ("llama", llama3(16)),
    "llama3 of an odd original length": ("llama", llama3(27)),
    "llama that sees both ways": ("llama", {"is_causal": False}),
    "mistral": ("mistral", {}),
    "mistral with a window as long as its items": ("mistral", {"sliding_window": 128}),
    "qwen2": ("qwen2", {}),
    "qwen2 linear": ("qwen2", {"rope_parameters": {"rope_theta": 1e4, **LINEAR}}),
    "qwen2 untied": ("qwen2", {"tie_word_embeddings": False}),
    "qwen3": ("qwen3", {}),
    "qwen3 yarn attention_factor": ("qwen3", yarn(attention_factor=0.8)),
    "gemma2": ("gemma2", {}),
    "gemma2 without caps": ("gemma2", {"attn_logit_softcapping": None, "final_logit_softcapping": None}),
    "gemma2 with tight caps": ("gemma2", {"attn_logit_softcapping": 3.0, "final_logit_softcapping": 2.0}),
    "gemma2 that slides otherwise": ("gemma2", {"num_hidden_layers": 3, "layer_types": [FULL, SLIDING, SLIDING]}),
    "gemma2 that does not slide": ("gemma2", {"layer_types": [FULL, FULL]}),
    "gemma2 linear": ("gemma2", {"rope_parameters": {"rope_theta": 1e4, **LINEAR}}),
    "gemma3": ("gemma3_text", {}),
    "gemma3 linear": ("gemma3_text", gemma3_ropes(LINEAR, DEFAULT)),
    "gemma3 yarn": ("gemma3_text", gemma3_ropes(yarn()["rope_parameters"], DEFAULT)),
    "gemma3 with another local base": ("gemma3_text", gemma3_ropes(DEFAULT, {**DEFAULT, "rope_theta": 500.0})),
    "gemma3 with a cap": ("gemma3_text", {"final_logit_softcapping": 2.0}),
    "gemma3 that slides otherwise": ("gemma3_text", {"num_hidden_layers": 3, "layer_types": [FULL, SLIDING, SLIDING]}),
    "gemma3 that does not slide": ("gemma3_text", {"num_hidden_layers": 2, "layer_types": [FULL, FULL]}),
    "gemma3 that slides everywhere": ("gemma3_text", {"num_hidden_layers": 2, "layer_types": [SLIDING, SLIDING]}),
    "gemma3 untied": ("gemma3_text", {"tie_word_embeddings": False}),
    "gpt2": ("gpt2", {}),
    "gpt2 untied": ("gpt2", {"tie_word_embeddings": False}),
    "gpt2 that sees both ways": ("gpt2", {"is_causal": False}),
    "gpt2 with a narrow middle": ("gpt2", {"n_inner": 96}),
    "bert": ("bert", {}),
}


@pytest.mark.parametrize("what", EXPORTED)
def test_llama_cpp_computes_what_the_model_does(tmp_path, what):
    family, changes = EXPORTED[what]
    model = tiny_models.make(family, **changes)
    if family == "bert":
        model = model.bert
    model.save_pretrained(tmp_path / "in")
    file = export(tmp_path / "in", tmp_path / "model.gguf", "--type", "f32")
    want = outputs(model)
    same_outputs(of_llama_cpp(file, family), want, "llama.cpp", tolerance(family))
    # And back: what went out is the model that comes in.
    auto = transformers.AutoModel if family == "bert" else transformers.AutoModelForCausalLM
    same_outputs(outputs(auto.from_pretrained(import_model(file, tmp_path / "back"))), want, "back")
    again = export(tmp_path / "back", tmp_path / "again.gguf", "--type", "f32")
    first, second = gguf.GGUFReader(file).fields, gguf.GGUFReader(again).fields
    assert {key: field.contents() for key, field in first.items() if key != "general.name"} == {
        key: field.contents() for key, field in second.items() if key != "general.name"}


REFUSED = {
    "qwen3 with biases": ("qwen3", {"attention_bias": True}, "attention_bias"),
    "gemma2 with biases": ("gemma2", {"attention_bias": True}, "attention_bias"),
    "gemma3 with biases": ("gemma3_text", {"attention_bias": True}, "attention_bias"),
    "gemma2 untied": ("gemma2", {"tie_word_embeddings": False}, "tie_word_embeddings"),
    "gemma3 scaled locally": ("gemma3_text", gemma3_ropes(DEFAULT, LINEAR), "rope_scaling"),
    "gemma3 scaled on both": ("gemma3_text", gemma3_ropes(LINEAR, LINEAR), "rope_scaling"),
    "gemma3 yarn attention_factor": ("gemma3_text", gemma3_ropes(yarn(attention_factor=1.5)["rope_parameters"], DEFAULT),
                                     "attention_factor"),
    "yarn turns": ("llama", yarn(beta_fast=4.0, beta_slow=2.0), "beta_fast"),
    "yarn between dims": ("llama", yarn(truncate=False), "truncate"),
    "llama3 elsewhere": ("qwen3", llama3(64), "llama3"),
    "qwen2 with wide heads": ("qwen2", {"head_dim": 32}, "head_dim"),
    "qwen3 that slides": ("qwen3", {"use_sliding_window": True, "sliding_window": 16, "max_window_layers": 1}, "sliding window"),
}


@pytest.mark.parametrize("what", REFUSED)
def test_what_llama_cpp_cannot_hold_is_refused_by_name(tmp_path, what):
    family, changes, said = REFUSED[what]
    tiny_models.make(family, **changes).save_pretrained(tmp_path / "in")
    run = tool("export", tmp_path / "in", tmp_path / "model.gguf", "--format", "gguf", "--type", "f32", check=False)
    assert run.returncode == 1 and said in run.stderr, run.stderr
    assert not (tmp_path / "model.gguf").exists()


def test_half_precision_is_read_by_llama_cpp(tmp_path):
    model = tiny_models.make("llama")
    model.save_pretrained(tmp_path / "in")
    for type_name, tolerance in (("f16", 5e-3), ("bf16", 3e-2)):
        got = of_llama_cpp(export(tmp_path / "in", tmp_path / f"{type_name}.gguf", "--type", type_name))
        want = outputs(tiny_models.make("llama"))
        assert (got - want).abs().max() / want.abs().max() < tolerance, type_name


def edited(source, destination, changes):
    """The file with keys set to (value, type) or, where None, left out."""
    reader = gguf.GGUFReader(source)
    architecture = reader.fields["general.architecture"].contents()
    writer = gguf.GGUFWriter(destination, architecture)
    changes = {key if key.startswith("tokenizer.") else f"{architecture}.{key}": value for key, value in changes.items()}
    for key, field in reader.fields.items():
        if key.startswith("GGUF.") or key == "general.architecture" or key in changes:
            continue
        writer.add_key_value(key, field.contents(), field.types[0], field.types[-1] if len(field.types) > 1 else None)
    for key, value in changes.items():
        if value is not None:
            writer.add_key_value(key, value[0], *value[1:])
    for tensor in reader.tensors:
        writer.add_tensor(tensor.name, tensor.data, raw_dtype=tensor.tensor_type)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return destination


kind = gguf.GGUFValueType


def u32(value):
    return value, kind.UINT32


def f32(value):
    return value, kind.FLOAT32


def text(value):
    return value, kind.STRING


def flags(*values):
    return list(values), kind.ARRAY, kind.BOOL


def u32s(*values):
    return list(values), kind.ARRAY, kind.UINT32


YARN = {"rope.scaling.type": text("yarn"), "rope.scaling.factor": f32(4.0), "rope.scaling.original_context_length": u32(32)}
# What is changed, and what the note says, if there is one.
READ = {
    "a factor without a type": ("llama", {"rope.scaling.factor": f32(4.0)}, ""),
    "the factor's older name": ("llama", {"rope.scale_linear": f32(4.0)}, ""),
    "the newer name wins": ("qwen2", {"rope.scale_linear": f32(2.0), "rope.scaling.factor": f32(4.0)}, ""),
    "a factor of 0 is none": ("llama", {"rope.scaling.factor": f32(0.0)}, ""),
    "a factor of type none": ("llama", {"rope.scaling.type": text("none"), "rope.scaling.factor": f32(4.0)}, ""),
    "yarn": ("llama", YARN, ""),
    "yarn by the older name": ("llama", {**YARN, "rope.scaling.factor": None, "rope.scale_linear": f32(4.0)}, ""),
    "yarn without an original length": ("llama", {**YARN, "rope.scaling.original_context_length": None}, ""),
    "attn_factor of yarn": ("qwen3", {**YARN, "rope.scaling.attn_factor": f32(1.5)}, ""),
    "attn_factor alone": ("llama", {"rope.scaling.attn_factor": f32(1.5)}, ""),
    "yarn's turns are not read": ("llama", {**YARN, "rope.scaling.yarn_beta_fast": f32(4.0)}, "yarn_beta_fast = 4 is not used"),
    "yarn_attn_factor is not read": ("qwen2", {**YARN, "rope.scaling.yarn_attn_factor": f32(3.0)}, "yarn_attn_factor"),
    "no base": ("llama", {"rope.freq_base": None}, ""),
    "no base of a gemma3": ("gemma3_text", {"rope.freq_base": None}, ""),
    "no widths of heads": ("llama", {"attention.key_length": None, "attention.value_length": None,
                                     "rope.dimension_count": None}, ""),
    "heads layer by layer": ("llama", {"attention.head_count": u32s(4, 4), "attention.head_count_kv": u32s(2, 2),
                                       "feed_forward_length": u32s(96, 96)}, ""),
    "a window that llama has not": ("llama", {"attention.sliding_window": u32(8)}, "sliding_window = 8 is not used"),
    "a cap that llama has not": ("llama", {"final_logit_softcapping": f32(2.0)}, "final_logit_softcapping"),
    "a scale that is not read": ("qwen2", {"logit_scale": f32(0.5)}, "logit_scale"),
    "a key that nobody knows": ("gpt2", {"some.thing": text("else")}, 'gpt2.some.thing = "else"'),
    "not causal": ("llama", {"attention.causal": (False, kind.BOOL)}, ""),
    "not causal either": ("qwen2", {"attention.causal": (False, kind.BOOL)}, ""),
    "causal as it is": ("qwen3", {"attention.causal": (True, kind.BOOL)}, ""),
    "no caps": ("gemma2", {"attn_logit_softcapping": None, "final_logit_softcapping": None}, ""),
    "a pattern": ("gemma2", {"attention.sliding_window_pattern": flags(False, True)}, ""),
    "no window of a gemma2": ("gemma2", {"attention.sliding_window": None}, ""),
    "gemma3's cap": ("gemma3_text", {"final_logit_softcapping": f32(2.0)}, ""),
    "gemma3's window": ("gemma3_text", {"attention.sliding_window": u32(5)}, ""),
    "no window of a gemma3": ("gemma3_text", {"attention.sliding_window": None}, ""),
    "a window of 0": ("gemma3_text", {"attention.sliding_window": u32(0)}, ""),
    "every third layer": ("gemma3_text", {"attention.sliding_window_pattern": u32(3)}, ""),
    "every layer": ("gemma3_text", {"attention.sliding_window_pattern": u32(0)}, ""),
    "layer by layer": ("gemma3_text", {"attention.sliding_window_pattern": flags(True, False, True, True, False, False, True)}, ""),
    "the local base": ("gemma3_text", {"rope.freq_base_swa": f32(300.0)}, ""),
}


@pytest.mark.parametrize("what", READ)
def test_a_key_is_read_as_llama_cpp_reads_it(tmp_path, what):
    family, changes, said = READ[what]
    tiny_models.make(family).save_pretrained(tmp_path / "in")
    plain = export(tmp_path / "in", tmp_path / "plain.gguf", "--type", "f32")
    file = edited(plain, tmp_path / "model.gguf", changes)
    run = tool("import", file, tmp_path / "out")
    ours = outputs(transformers.AutoModelForCausalLM.from_pretrained(tmp_path / "out"))
    same_outputs(ours, of_llama_cpp(file), what, tolerance(family))
    assert (said in run.stderr) if said else ("is not used" not in run.stderr), run.stderr


NOT_READ = {
    "experts": ("llama", {"expert_count": u32(4), "expert_used_count": u32(2)}, "a mixture of experts"),
    "layers that differ": ("llama", {"attention.head_count_kv": u32s(2, 4)}, "2 in layer 0 but 4 in layer 1"),
    "a list of another length": ("llama", {"attention.head_count_kv": u32s(2, 2, 2)}, "3 numbers for 2 layers"),
    "another type": ("llama", {"rope.scaling.type": text("longrope")}, "longrope"),
    "part of a head": ("qwen2", {"rope.dimension_count": u32(8)}, "rope.dimension_count"),
    "a base of Gemma 2's windows": ("gemma2", {"rope.freq_base_swa": f32(300.0)}, "two rotary embeddings"),
    "heads of two widths": ("gemma3_text", {"attention.key_length_swa": u32(16)}, "key_length_swa"),
    "heads that share their keys": ("gpt2", {"attention.head_count_kv": u32(2)}, "head_count_kv"),
    "a Gemma that sees both ways": ("gemma3_text", {"attention.causal": (False, kind.BOOL)}, "attention.causal"),
    "scaled twice over": ("llama", {"rope.scaling.factor": f32(4.0), "rope.scaling.attn_factor": f32(1.5)}, "attn_factor"),
}


@pytest.mark.parametrize("what", NOT_READ)
def test_a_key_that_says_more_than_we_compute_is_refused(tmp_path, what):
    family, changes, said = NOT_READ[what]
    tiny_models.make(family).save_pretrained(tmp_path / "in")
    plain = export(tmp_path / "in", tmp_path / "plain.gguf", "--type", "f32")
    run = tool("import", edited(plain, tmp_path / "model.gguf", changes), tmp_path / "out", check=False)
    assert run.returncode in (1, 2) and said in run.stderr and str(tmp_path / "model.gguf") in run.stderr, run.stderr


def written(*patterns, digits=False):
    """A pre-tokenizer as models' tokenizer.json files have it."""
    parts = [{"type": "Split", "pattern": {"Regex": pattern}, "behavior": "Isolated", "invert": False} for pattern in patterns]
    if digits:
        parts.append({"type": "Digits", "individual_digits": True})
    return {"type": "Sequence", "pretokenizers": [
        *parts, {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": False}]}


ENDINGS = "(?i:'s|'t|'re|'ve|'m|'ll|'d)?"
UPPER, LOWER = r"[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]", r"[\p{Ll}\p{Lm}\p{Lo}\p{M}]"
GPT_4O = (rf"[^\r\n\p{{L}}\p{{N}}]?{UPPER}*{LOWER}+{ENDINGS}|[^\r\n\p{{L}}\p{{N}}]?{UPPER}+{LOWER}*{ENDINGS}"
          r"|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+")
DEEPSEEK_3 = ("[!\"#$%&'()*+,\\-./:;<=>?@\\[\\\\\\]^_`{|}~][A-Za-z]+|[^\r\n\\p{L}\\p{P}\\p{S}]?[\\p{L}\\p{M}]+"
              "| ?[\\p{P}\\p{S}]+[\r\n]*|\\s*[\r\n]+|\\s+(?!\\S)|\\s+")
CHINESE = "[一-龥ࠀ-一가-퟿]+"
CUT = {
    "gpt-4o": written(GPT_4O),
    "deepseek-v3": written(r"\p{N}{1,3}", "[一-龥぀-ゟ゠-ヿ]+", DEEPSEEK_3),
    "deepseek-coder": written("[\r\n]", r"\s?\p{L}+", r"\s?\p{P}+", CHINESE, digits=True),
}
# Without capitals beyond ASCII before others: there llama.cpp's gpt-4o cuts otherwise than the models' own files, "Ü", "BER".
LINES = ["The cat's 12 mice, and I'LL see 1234567 of them!", "def f(x):\n    return x  # twice\n\n", "naïve café  Über",
         "日本語のテキスト and 中文", "a\r\nb\n", "mixedCase HTTPServer it'd /path/to/x", "   three spaces", "(word) [x] {y}"]


def byte_level_bpe():
    """No two digits in a token: as DeepSeek's vocabularies are, whose numbers llama.cpp does not cut."""
    trained = tokenizers.Tokenizer(tokenizers.models.BPE())
    trained.pre_tokenizer = tokenizers.pre_tokenizers.Sequence([
        tokenizers.pre_tokenizers.Digits(individual_digits=True), tokenizers.pre_tokenizers.ByteLevel(add_prefix_space=False)])
    trained.train_from_iterator(LINES * 2, tokenizers.trainers.BpeTrainer(
        vocab_size=400, initial_alphabet=tokenizers.pre_tokenizers.ByteLevel.alphabet(), show_progress=False))
    return trained


@pytest.mark.parametrize("name", CUT)
def test_a_pre_tokenizer_has_llama_cpps_name(tmp_path, name):
    folder, trained = tmp_path / "in", byte_level_bpe()
    document = json.loads(trained.to_str()) | {"pre_tokenizer": CUT[name], "normalizer": {"type": "Sequence", "normalizers": []}}
    tiny_models.make("llama", vocab_size=trained.get_vocab_size()).save_pretrained(folder)
    (folder / "tokenizer.json").write_text(json.dumps(document))
    own = tokenizers.Tokenizer.from_str(json.dumps(document))
    file = export(folder, tmp_path / "model.gguf")
    assert gguf.GGUFReader(file).fields["tokenizer.ggml.pre"].contents() == name
    back = tokenizers.Tokenizer.from_file(str(import_model(file, tmp_path / "out") / "tokenizer.json"))
    want = [own.encode(line, add_special_tokens=False).ids for line in LINES]
    assert [back.encode(line, add_special_tokens=False).ids for line in LINES] == want
    assert llama_cpp().tokenize(file, LINES) == want


def test_deepseeks_first_pre_tokenizer_is_read_and_written(tmp_path):
    trained = byte_level_bpe()
    tiny_models.make("llama", vocab_size=trained.get_vocab_size()).save_pretrained(tmp_path / "in")
    (tmp_path / "in" / "tokenizer.json").write_text(trained.to_str())
    file = edited(export(tmp_path / "in", tmp_path / "gpt2.gguf"), tmp_path / "model.gguf",
                  {"tokenizer.ggml.pre": text("deepseek-llm")})
    folder = import_model(file, tmp_path / "out")
    ours = tokenizers.Tokenizer.from_file(str(folder / "tokenizer.json"))
    assert [ours.encode(line, add_special_tokens=False).ids for line in LINES] == llama_cpp().tokenize(file, LINES)
    again = gguf.GGUFReader(export(folder, tmp_path / "again.gguf")).fields
    assert again["tokenizer.ggml.pre"].contents() == "deepseek-llm"
