"""Every key of transformers' config classes, moved off its default, one at a time: what our engine
computes is what transformers does, or the key is refused by its name.

    TRAINYARD_BUILD_DIR=build pytest tests/golden/test_config_keys.py

With TRAINYARD_SHOW=1 the counts are printed that docs/models.md has.
"""

import dataclasses
import json
import os
import pathlib
import re
import tempfile

import pytest

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")
np = pytest.importorskip("numpy")
safetensors_torch = pytest.importorskip("safetensors.torch")

import probe
import tiny_models

REPOSITORY = pathlib.Path(__file__).resolve().parents[2]
TOLERANCE = 2e-4  # of the largest logit

# Shapes as small as the keys allow; rows are longer than windows, original lengths and what fits.
DECODER = dict(vocab_size=48, hidden_size=32, intermediate_size=40, num_hidden_layers=3, num_attention_heads=4,
               num_key_value_heads=2, head_dim=8, max_position_embeddings=64, bos_token_id=1, eos_token_id=2,
               pad_token_id=0)
GEMMA = dict(DECODER, query_pre_attn_scalar=12, sliding_window=4)
SLIDING = dict(use_sliding_window=True, sliding_window=4, max_window_layers=1)
BERT = dict(vocab_size=48, hidden_size=32, intermediate_size=40, num_hidden_layers=2, num_attention_heads=4,
            max_position_embeddings=64)
YARN = {"rope_type": "yarn", "rope_theta": 5000.0, "factor": 4.0, "original_max_position_embeddings": 16}
LLAMA3 = {"rope_type": "llama3", "rope_theta": 5000.0, "factor": 4.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0,
          "original_max_position_embeddings": 16}
LINEAR = {"rope_type": "linear", "factor": 2.0}

# By family, what a key is moved from: some keys act only beside others.
BASES = {
    "llama": {"": DECODER, "yarn": dict(DECODER, rope_parameters=YARN),
              "llama3": dict(DECODER, rope_parameters=LLAMA3)},
    "mistral": {"": dict(DECODER, sliding_window=4)},
    "qwen2": {"": DECODER, "sliding": dict(DECODER, **SLIDING)},
    "qwen3": {"": DECODER, "sliding": dict(DECODER, **SLIDING)},
    "gemma2": {"": GEMMA},
    "gemma3_text": {"": GEMMA},
    "gpt2": {"": dict(vocab_size=48, n_embd=32, n_layer=3, n_head=4, n_positions=64, bos_token_id=1, eos_token_id=2)},
    "bert": {"": BERT},
    "roberta": {"": dict(BERT, pad_token_id=1)},
    "distilbert": {"": dict(vocab_size=48, dim=32, hidden_dim=40, n_layers=2, n_heads=4, max_position_embeddings=64)},
}

ROPES = [dict(rope_theta=500.0), dict(rope_scaling=LINEAR), dict(rope_scaling={"type": "linear", "factor": 2.0}),
         dict(rope_scaling=YARN), dict(rope_scaling={}), dict(rope_scaling=None), dict(rope_parameters={}),
         dict(rope_parameters=LINEAR), dict(rope_parameters=YARN), dict(rope_parameters=LLAMA3),
         dict(rope_parameters={"rope_type": "dynamic", "factor": 2.0}),
         dict(rope_scaling=LINEAR, rope_parameters=YARN), dict(rope_scaling=YARN, rope_theta=500.0),
         dict(rope_scaling=LINEAR, rope_parameters={"rope_type": "default", "rope_theta": 77.0}),
         dict(rope_parameters={"rope_type": "default", "rope_theta": 77.0}, rope_theta=500.0),
         dict(rope_parameters={k: v for k, v in YARN.items() if not k.startswith("original")}),
         dict(rope_parameters={k: v for k, v in LLAMA3.items() if not k.startswith("original")}),
         dict(rope_parameters=YARN, original_max_position_embeddings=8),
         dict(rope_parameters=LLAMA3, original_max_position_embeddings=8),
         dict(original_max_position_embeddings=8), dict(partial_rotary_factor=0.5),
         dict(rope_scaling=LINEAR, partial_rotary_factor=0.5), dict(rope_parameters=dict(LINEAR, partial_rotary_factor=0.5)),
         *(dict(rope_parameters=dict(YARN, **more)) for more in (
             dict(attention_factor=1.5), dict(beta_fast=8.0), dict(beta_slow=2.0), dict(beta_fast=0), dict(truncate=False),
             dict(mscale=0.7, mscale_all_dim=1.3), dict(mscale=0.7)))]
LAYERED = {"full_attention": dict(LINEAR, rope_theta=900.0), "sliding_attention": {"rope_type": "default", "rope_theta": 50.0}}
GEMMA3_ROPES = [dict(rope_parameters=LAYERED), dict(rope_parameters={"full_attention": LAYERED["full_attention"]}),
                dict(rope_parameters={"sliding_attention": LAYERED["sliding_attention"]}),
                dict(rope_parameters=LAYERED, rope_scaling={"rope_type": "linear", "factor": 4.0}),
                dict(rope_parameters=LAYERED, rope_theta=77.0, rope_local_base_freq=66.0),
                dict(rope_parameters={"full_attention": YARN, "sliding_attention": LINEAR},
                     original_max_position_embeddings=8)]

# Values for keys whose default says nothing of their kind, and such as are worth more than one.
VALUES = {
    "architectures": [["AnotherForCausalLM"]], "transformers_version": ["4.1.0"], "dtype": ["bfloat16"],
    "id2label": [{"0": "a", "1": "b", "2": "c"}], "label2id": [{"a": 0, "b": 1, "c": 2}],
    "problem_type": ["regression"], "rope_parameters": [], "hidden_act": ["gelu", "relu", "swish"],
    "hidden_activation": ["gelu", "silu"], "activation_function": ["relu", "gelu_pytorch_tanh"], "activation": ["relu"],
    "summary_type": ["mean"], "summary_activation": ["tanh"], "num_key_value_heads": [1, 4, None],
    "head_dim": [4, 16], "pad_token_id": [5, None], "bos_token_id": [7, None], "eos_token_id": [7, [2, 3], None],
    "sliding_window": [7, 1, None], "layer_types": [["sliding_attention", "full_attention", "sliding_attention"],
                                                    ["full_attention"] * 3],
    "n_inner": [48], "classifier_dropout": [0.3], "attn_logit_softcapping": [1.5, None],
    "final_logit_softcapping": [1.5, None], "use_bidirectional_attention": [True, False], "pretraining_tp": [2],
    "num_attention_heads": [2], "n_head": [2], "n_heads": [2], "hidden_size": [64], "n_embd": [64], "dim": [64],
    "vocab_size": [60], "max_position_embeddings": [40], "n_positions": [40], "chunk_size_feed_forward": [8],
}
# Keys that are in no dataclass, and that transformers reads all the same, or that its older versions did.
MORE = [dict(is_causal=False), dict(is_causal=True), dict(is_decoder=True), dict(num_labels=5), dict(output_attentions=True),
        dict(tie_last_hidden_states=True), dict(torch_dtype="bfloat16"), dict(gradient_checkpointing=True),
        dict(per_layer_config={"0": {"intermediate_size": 8}}), dict(do_sample=True), dict(max_length=7),
        dict(temperature=0.3), dict(task_specific_params={"a": {"b": 1}}), dict(not_a_key=3)]
OF_FAMILY = {
    **{f: ROPES for f in ("llama", "mistral", "qwen2", "qwen3", "gemma2")},
    "gemma3_text": ROPES + GEMMA3_ROPES + [dict(rope_local_base_freq=70.0), dict(sliding_window_pattern=2),
                                           dict(use_bidirectional_attention=True, is_causal=False),
                                           dict(use_bidirectional_attention=True, sliding_window=5)],
    "gpt2": [dict(hidden_size=64), dict(num_hidden_layers=2), dict(num_attention_heads=2), dict(n_ctx=9),
             dict(max_position_embeddings=40), dict(scale_attn_weights=False, scale_attn_by_inverse_layer_idx=True)],
    "distilbert": [dict(hidden_size=64), dict(num_hidden_layers=1), dict(num_attention_heads=2)],
    "bert": [dict(position_embedding_type="relative_key"), dict(is_decoder=True, is_causal=False)],
    "roberta": [dict(position_embedding_type="relative_key"), dict(is_decoder=True, is_causal=False)],
}


def off_default(field):
    """Values of another kind than the default."""
    if field.name in VALUES:
        return VALUES[field.name]
    default = field.default
    if isinstance(default, bool):
        return [not default]
    if isinstance(default, int):
        return [2 if default != 2 else 3]
    if isinstance(default, float):
        return [default * 4 + 0.25 if default > 0.01 or default == 0 else 0.3]
    raise AssertionError(f"no value off the default is known for {field.name} = {default!r}")


def kind_of(family):
    return tiny_models.CONFIGS[family][0]


def cases(family):
    """(name, config.json, the keys that were moved)"""
    for base, fields in BASES[family].items():
        fields = {"model_type": family, **fields}
        moves = [{field.name: value} for field in dataclasses.fields(kind_of(family)) for value in off_default(field)]
        if base == "":
            moves += MORE + OF_FAMILY.get(family, [])
        yield f"{family}-{base}-base", fields, []
        for i, move in enumerate(moves):
            yield f"{family}-{base}-{i}-{'-'.join(move)}", {**fields, **move}, list(move)


def rows(family):
    generator = torch.Generator().manual_seed(3)
    ids = torch.randint(8, 48, (1, 31), generator=generator)
    if family == "roberta":
        ids[0, [3, 4, 17]] = 1  # pads among the text: places count what is not one
    return ids


def theirs(family, config, folder):
    """Logits of transformers on weights that it makes for the config, which go to the folder."""
    kind = kind_of(family)
    torch.manual_seed(0)
    auto = transformers.AutoModelForMaskedLM if family in tiny_models.MASKED else transformers.AutoModelForCausalLM
    fields = {k: v for k, v in json.loads(json.dumps(config)).items() if k not in ("dtype", "torch_dtype")}
    model = auto.from_config(kind.from_dict(fields)).eval()
    model.config.return_dict = True
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.1)
        logits = model(rows(family)).logits[0].numpy()
    tensors = {n: p.detach().clone() for n, p in model.named_parameters()}
    folder.mkdir()
    safetensors_torch.save_file(tensors, folder / "model.safetensors")
    return logits


def verdict(logits, ours, keys):
    if isinstance(logits, Exception):
        return "refused by transformers"
    if isinstance(ours, str):
        return "refused" if any(key in ours for key in keys) else f"refused, but not by name: {ours}"
    if ours.shape != logits.shape:
        return f"shape {ours.shape} for {logits.shape}"
    gap = np.abs(ours - logits).max() / np.abs(logits).max()
    return "equal" if gap < TOLERANCE else f"differs by {gap:.1e} of the largest logit"


@pytest.fixture(scope="module")
def sweep():
    transformers.logging.set_verbosity_error()
    torch.set_num_threads(1)
    memory = pathlib.Path("/dev/shm")
    with tempfile.TemporaryDirectory(dir=memory if memory.is_dir() else None) as root:
        root, results = pathlib.Path(root), {}
        for family in BASES:
            logits, moved = {}, {}
            for name, config, keys in cases(family):
                moved[name] = keys
                try:
                    logits[name] = theirs(family, config, root / name)
                except Exception as error:
                    logits[name] = error
                    continue
                (root / name / "config.json").write_text(json.dumps(config))
            there = [name for name in logits if not isinstance(logits[name], Exception)]
            ours = probe.ask_each(root, there, rows(family).tolist())
            results[family] = {name: verdict(logits[name], ours.get(name), moved[name]) for name in logits}
        yield results


@pytest.mark.parametrize("family", BASES)
def test_a_key_off_its_default_gives_transformers_logits_or_is_refused_by_its_name(sweep, family):
    wrong = {name: said for name, said in sweep[family].items()
             if said not in ("equal", "refused", "refused by transformers")}
    assert not wrong, "\n".join(f"{name}: {said}" for name, said in wrong.items())
    for base in BASES[family]:
        assert sweep[family][f"{family}-{base}-base"] == "equal"


def counts(results):
    return [(family, len(said), *(list(said.values()).count(v) for v in ("equal", "refused", "refused by transformers")))
            for family, said in results.items()]


def test_the_counts_in_the_docs_are_the_sweeps(sweep):
    made = ["| {} | {} | {} | {} | {} |".format(*row) for row in counts(sweep)]
    if os.environ.get("TRAINYARD_SHOW"):
        print("\n".join(made))
    written = (REPOSITORY / "docs/models.md").read_text()
    missing = [line for line in made if line not in written]
    assert not missing, "docs/models.md should say:\n" + "\n".join(made)


@pytest.mark.parametrize("family", ["llama", "gpt2"])
def test_a_decoder_that_looks_both_ways_goes_on_as_transformers_does(tmp_path, family):
    """The prompt sees itself whole; what was cached does not see what comes after."""
    config = {"model_type": family, **BASES[family][""], "is_causal": False}
    theirs(family, config, tmp_path / "model")
    (tmp_path / "model/config.json").write_text(json.dumps(config))
    model = tiny_models.load(family, tmp_path / "model").eval()
    prompt = rows(family)[:, :12]
    there = model.generate(prompt, max_new_tokens=8, do_sample=False, eos_token_id=None, pad_token_id=0)[0, 12:].tolist()
    ours = probe.ask(tmp_path / "model", prompts=prompt.tolist(), max_new_tokens=8)["greedy"][0]
    assert ours == there


@pytest.mark.parametrize("family", BASES)
def test_what_is_written_of_a_config_is_understood_as_what_was_read(family):
    read = [said["config"] for said in probe.understand([config for _, config, _ in cases(family)]) if "config" in said]
    assert len(read) > 20
    again = probe.understand(read)
    assert [said.get("config", said) for said in again] == read


# What is filled in where a key is left out, and by what names.
SAME = {"vocab_size", "num_key_value_heads", "head_dim", "bos_token_id", "eos_token_id", "pad_token_id",
        "tie_word_embeddings", "initializer_range", "type_vocab_size", "attention_bias", "mlp_bias",
        "query_pre_attn_scalar", "final_logit_softcapping", "layer_types", "sliding_window", "use_sliding_window"}


@pytest.mark.parametrize("family", BASES)
def test_what_a_config_leaves_out_is_what_the_class_of_transformers_fills_in(family):
    said = probe.understand([{"model_type": family}])[0]["config"]
    filled = kind_of(family)().to_dict()
    shape = {key for key in said if re.search(r"size|layers?$|heads?$|n_|dim|position|eps|activation|hidden_act", key)}
    for key in {key for key in (SAME | shape) & set(filled) & set(said) if "drop" not in key}:
        if key == "n_inner":
            assert said[key] == 4 * filled["n_embd"]
        elif key == "layer_types" and set(filled[key]) == {"full_attention"}:
            assert key not in said
        else:
            assert said[key] == filled[key], key
    if "rope_parameters" in said:
        assert said["rope_parameters"] == filled["rope_parameters"]


@pytest.mark.parametrize("family", BASES)
def test_no_key_of_the_class_is_called_unknown(family):
    """A version of transformers with a new key fails here: it is to be read, or refused off its default."""
    names = {field.name: 1 for field in dataclasses.fields(kind_of(family))}
    names |= {name: 1 for name in transformers.GenerationConfig._get_default_generation_params()}
    said = probe.understand([{**names, "model_type": family, "not_a_key": 1}])[0]["notes"]
    unknown = [note for note in said if note.startswith("not read")]
    assert unknown == [f"not read, since a {family} has no such key: not_a_key"]
