"""Where a prompt begins and an answer ends: special tokens in prompts and stop texts, every token that ends a
turn, and what a line of a prompts file gives the template. The models are chains: which token follows depends on
the last one alone, so that an answer that goes on too far shows it.

    TRAINYARD_BUILD_DIR=build pytest tests/golden/test_generate_edges.py
"""

import json
import os
import pathlib
import subprocess

import pytest

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")
tokenizers = pytest.importorskip("tokenizers")
gguf = pytest.importorskip("gguf")
import numpy

REPOSITORY = pathlib.Path(__file__).resolve().parents[2]
BUILD = pathlib.Path(os.environ.get("TRAINYARD_BUILD_DIR", REPOSITORY / "build"))
TRAINER = BUILD / "bin/trainyard-trainer"
LETTERS = [chr(c) for c in range(ord("a"), ord("z") + 1)]
TEMPLATE = ("{% for m in messages %}<u>{{ m.content }}<over>{% endfor %}"
            "{% if add_generation_prompt %}<u>{% endif %}")


def vocabulary(special):
    names = ["</s>"] + special + LETTERS
    return names + [f"<pad{i}>" for i in range(len(names) % 2)]


def tensors(names, chain):
    """A llama whose layer adds nothing: what follows a token is chain's, else the token itself."""
    size = len(names)
    head = numpy.zeros((size, size), numpy.float32)
    for i, name in enumerate(names):
        head[names.index(chain.get(name, name)), i] = 5
    flat = lambda *shape: numpy.zeros(shape, numpy.float32)
    return {"token_embd.weight": numpy.eye(size, dtype=numpy.float32), "output.weight": head,
            "output_norm.weight": numpy.ones(size, numpy.float32),
            "blk.0.attn_norm.weight": numpy.ones(size, numpy.float32),
            "blk.0.ffn_norm.weight": numpy.ones(size, numpy.float32),
            "blk.0.attn_q.weight": flat(size, size), "blk.0.attn_k.weight": flat(size, size),
            "blk.0.attn_v.weight": flat(size, size), "blk.0.attn_output.weight": flat(size, size),
            "blk.0.ffn_gate.weight": flat(8, size), "blk.0.ffn_up.weight": flat(8, size),
            "blk.0.ffn_down.weight": flat(size, 8)}


def write_gguf(path, special, chain, keys=None, template=None):
    names = vocabulary(special)
    writer = gguf.GGUFWriter(path, "llama")
    writer.add_block_count(1)
    writer.add_context_length(64)
    writer.add_embedding_length(len(names))
    writer.add_feed_forward_length(8)
    writer.add_head_count(1)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("gpt-2")
    writer.add_token_list(names)
    writer.add_token_types([1 if name in LETTERS else 3 for name in names])
    writer.add_token_merges([])
    writer.add_eos_token_id(0)
    for key, name in (keys or {}).items():
        writer.add_uint32(f"tokenizer.ggml.{key}", names.index(name))
    if template is not None:
        writer.add_chat_template(template)
    for name, values in tensors(names, chain).items():
        writer.add_tensor(name, values)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


def write_folder(folder, special, chain, template=TEMPLATE, eos=0):
    names = vocabulary(special)
    tokenizer = tokenizers.Tokenizer(tokenizers.models.BPE({name: i for i, name in enumerate(names)}, []))
    tokenizer.pre_tokenizer = tokenizers.pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = tokenizers.decoders.ByteLevel()
    tokenizer.add_special_tokens(["</s>"] + special)
    fast = transformers.PreTrainedTokenizerFast(tokenizer_object=tokenizer, eos_token="</s>")
    fast.chat_template = template
    fast.save_pretrained(folder)
    size = len(names)
    model = transformers.LlamaForCausalLM(transformers.LlamaConfig(
        vocab_size=size, hidden_size=size, intermediate_size=8, num_hidden_layers=1, num_attention_heads=1,
        max_position_embeddings=64, bos_token_id=None, eos_token_id=0))
    ours = tensors(names, chain)
    renamed = {"embed_tokens": "token_embd", "lm_head": "output", "model.norm": "output_norm",
               "input_layernorm": "blk.0.attn_norm", "post_attention_layernorm": "blk.0.ffn_norm"}
    for name, values in model.named_parameters():
        source = [ours[f"{theirs}.weight"] for key, theirs in renamed.items() if key in name]
        values.data = torch.from_numpy(source[0]) if source else torch.zeros_like(values)
    model.generation_config.eos_token_id = eos
    model.save_pretrained(folder)
    return folder


def tool(*words):
    if not TRAINER.exists():
        pytest.skip(f"{TRAINER} is not built")
    return subprocess.run([TRAINER, "tool", *words], capture_output=True, text=True, timeout=120)


def said(model, *words):
    ran = tool("generate", "--model", model, *words, "--max-new-tokens", "6", "--temperature", "0", "--threads", "1")
    assert ran.returncode == 0, ran.stderr
    return ran.stdout.removesuffix("\n")


# What a model says after "hi": y, the special token, then n for ever.
def chain(special):
    return {"i": "y", "y": special, special: "n"}


@pytest.mark.parametrize("special, keys, wanted", [
    ("<over>", {"eot_token_id": "<over>"}, "hiy"),
    ("<over>", {"eom_token_id": "<over>"}, "hiy"),
    ("<end_of_turn>", {}, "hiy"),
    ("<end_of_utterance>", {}, "hiy"),
    ("<over>", {}, "hiynnnn"),
])
def test_a_gguf_files_answers_end_where_its_keys_or_its_tokens_names_say(tmp_path, special, keys, wanted):
    path = write_gguf(tmp_path / "model.gguf", [special], chain(special), keys)
    assert said(path, "--prompt", "hi") == wanted


def test_what_ends_a_gguf_files_answers_is_in_the_folder_made_of_it_and_in_the_next_file(tmp_path):
    path = write_gguf(tmp_path / "model.gguf", ["<end_of_turn>", "<over>"], chain("<over>"), {"eot_token_id": "<over>"})
    ran = tool("model", "import", path, tmp_path / "folder")
    assert ran.returncode == 0, ran.stderr
    assert json.loads((tmp_path / "folder/generation_config.json").read_text())["eos_token_id"] == [0, 2, 1]
    assert said(tmp_path / "folder", "--prompt", "hi") == "hiy"
    ran = tool("model", "export", tmp_path / "folder", tmp_path / "again.gguf", "--format", "gguf", "--type", "f32")
    assert ran.returncode == 0, ran.stderr
    assert said(tmp_path / "again.gguf", "--prompt", "hi") == "hiy"


def test_an_answer_ends_where_the_template_ends_a_turn_and_at_each_id_of_generation_config(tmp_path):
    special = ["<u>", "<over>"]
    assert said(write_folder(tmp_path / "a", special, chain("<over>")), "--prompt", "hi") == "hiy"
    plain = "{% for m in messages %}{{ m.content }}{% endfor %}"
    assert said(write_folder(tmp_path / "b", special, chain("<over>"), plain), "--prompt", "hi") == "hiynnnn"
    listed = write_folder(tmp_path / "c", special, chain("<over>"), plain, eos=[0, 2])
    assert said(listed, "--prompt", "hi") == "hiy"


@pytest.fixture(scope="module")
def turns(tmp_path_factory):
    """Says k behind the token <go>, and o behind k; a template that ends no turn."""
    template = "{{ raise_exception(messages ~ '|' ~ (tools | tojson) ~ '|' ~ documents ~ '|' ~ mood ~ '|' ~ eos_token) }}"
    return write_folder(tmp_path_factory.mktemp("turns") / "model", ["<go>", "<u>"],
                        {"<go>": "k", "k": "<u>", "<u>": "o"}, template)


def test_a_stop_text_finds_special_tokens_that_are_not_shown(turns):
    assert said(turns, "--prompt", "k") == "kooooo"
    assert said(turns, "--prompt", "k", "--stop", "<u>") == "k"
    # A part of one, with what follows it; what stands before is shown.
    assert said(turns, "--prompt", "<go>", "--stop", "u>oo") == "<go>k"
    assert said(turns, "--prompt", "<go>", "--stop", "<v>") == "<go>koooo"


def test_special_tokens_in_a_prompt_are_their_ids_as_in_transformers(turns):
    peer = transformers.AutoTokenizer.from_pretrained(turns)
    text = "hi<go>"
    assert said(turns, "--prompt", text) == text + "kooooo"[:1] + "oooo"
    assert said(turns, "--prompt", "a<go>z", "--no-parse-special") == "a<go>z" + "zzzzzz"
    ids = tool("tokenizer", "encode", "--tokenizer", turns, text)
    assert ids.stdout.split() == [str(i) for i in peer.encode(text, add_special_tokens=False)]
    ids = tool("tokenizer", "encode", "--tokenizer", turns, "--no-parse-special", text)
    assert ids.stdout.split() == [str(i) for i in peer.encode(text, add_special_tokens=False, split_special_tokens=True)]
    ran = tool("generate", "--model", turns, "--chat", "hi", "--no-parse-special")
    assert ran.returncode == 2 and "--no-parse-special is for texts" in ran.stderr


def prompts(folder, *lines):
    file = folder / "prompts.jsonl"
    file.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return file


@pytest.mark.parametrize("as_text", [False, True])
def test_tools_documents_and_kwargs_of_a_line_reach_the_template_as_in_transformers(turns, tmp_path, as_text):
    messages = [{"role": "user", "content": "hi"}]
    tools = [{"type": "function", "function": {"name": "brew", "parameters": {"type": "object", "properties": {}}}}]
    more = {"documents": [{"title": "t", "text": "x"}]}
    peer = transformers.AutoTokenizer.from_pretrained(turns)
    with pytest.raises(Exception) as seen:
        peer.apply_chat_template(messages, tools=tools, mood="good", add_generation_prompt=True, **more)
    line = {"messages": messages, "tools": json.dumps(tools) if as_text else tools,
            "chat_template_kwargs": {"mood": "good"}, **more}
    ran = tool("generate", "--model", turns, "--prompts", prompts(tmp_path, line))
    assert ran.returncode == 2 and str(seen.value) in ran.stderr, ran.stderr


def test_keys_of_a_prompts_file_that_are_not_used_are_said_once(turns, tmp_path):
    file = prompts(tmp_path, {"prompt": "a", "id": 1}, {"prompt": "b", "id": 2, "tools": [{}]}, {"prompt": "c", "tools": [{}]})
    ran = tool("generate", "--model", turns, "--prompts", file, "--max-new-tokens", "1", "--temperature", "0")
    assert ran.returncode == 0 and len(ran.stdout.splitlines()) == 3
    notes = [line for line in ran.stderr.splitlines() if line.startswith("note:")]
    assert notes == [f'note: {file}:1: "id" is not used', f'note: {file}:2: "tools" is not used: the line has a text, "prompt"']


@pytest.mark.parametrize("line, word", [
    ({"messages": [], "tools": "no list"}, '"tools" must be a list'),
    ({"messages": [], "chat_template_kwargs": 3}, '"chat_template_kwargs" must be an object'),
    ({"messages": [], "chat_template_kwargs": {"tools": []}}, 'cannot have "tools": give it beside them'),
    ({"prompt": 7}, 'the text "prompt" or the list "messages"'),
])
def test_a_line_that_breaks_the_format_is_named_with_its_key(turns, tmp_path, line, word):
    ran = tool("generate", "--model", turns, "--prompts", prompts(tmp_path, {"prompt": "a"}, line))
    assert ran.returncode == 2 and f"{tmp_path}/prompts.jsonl:2" in ran.stderr and word in ran.stderr
