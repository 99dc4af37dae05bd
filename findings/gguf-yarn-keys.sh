#!/usr/bin/env bash
# llama.cpp writes yarn's own numbers to a GGUF file and does not read them back.
#
# gguf 0.19.0 (the package of llama.cpp's convert_hf_to_gguf.py) has add_rope_scaling_yarn_attn_factor and
# add_rope_scaling_yarn_beta_fast, and the converter calls them for config.json's attention_factor and beta_fast of any
# architecture. llama.cpp, as in xllamacpp 2026.10.11549, reads these keys for a few architectures alone: of a llama with
# yarn_attn_factor = 3 and yarn_beta_fast = 4 every logit has the same bits as without the keys. What does count for
# every architecture is rope.scaling.attn_factor, a factor on top of yarn's usual 0.1 ln(factor) + 1, for which the
# package gguf has a name (Keys.Rope.SCALING_ATTN_FACTOR) and the converter no use here. So a model whose
# attention_factor or betas are its own computes something else in llama.cpp than it did, without a word.
#
# Seen on 2026-12-01, CPU, Python 3.11:
#   the keys that the converter writes: same bits True
#   rope.scaling.attn_factor: same bits False
# Exits 1 when that changes.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install -q gguf==0.19.0 numpy==2.4.6 xllamacpp==2026.10.11549
cd "$work"
"$work/venv/bin/python" - <<'PY'
import ctypes
import pathlib
import sys

import gguf
import numpy as np
import xllamacpp


def write(path, more):
    """A llama of one layer, random weights, no tokenizer, yarn by 4."""
    draw = np.random.default_rng(1)
    writer = gguf.GGUFWriter(path, "llama")
    writer.add_tokenizer_model("no_vocab")
    writer.add_vocab_size(64)
    writer.add_context_length(128)
    writer.add_embedding_length(32)
    writer.add_block_count(1)
    writer.add_feed_forward_length(64)
    writer.add_head_count(2)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_rope_scaling_type(gguf.RopeScalingType.YARN)
    writer.add_rope_scaling_factor(4.0)
    writer.add_rope_scaling_orig_ctx_len(32)
    more(writer)
    shapes = {"token_embd": (64, 32), "output_norm": (32,), "blk.0.attn_norm": (32,), "blk.0.ffn_norm": (32,),
              "blk.0.attn_q": (32, 32), "blk.0.attn_k": (32, 32), "blk.0.attn_v": (32, 32), "blk.0.attn_output": (32, 32),
              "blk.0.ffn_gate": (64, 32), "blk.0.ffn_up": (64, 32), "blk.0.ffn_down": (32, 64)}
    for name, shape in shapes.items():
        writer.add_tensor(f"{name}.weight", draw.standard_normal(shape).astype(np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


class ModelParams(ctypes.Structure):  # struct llama_model_params, passed on as it comes
    _fields_ = [("bytes", ctypes.c_uint64 * 10)]


class ContextParams(ctypes.Structure):  # struct llama_context_params
    _fields_ = [("bytes", ctypes.c_uint64 * 21)]


class Batch(ctypes.Structure):  # struct llama_batch
    _fields_ = [("n_tokens", ctypes.c_int32), ("pointers", ctypes.c_void_p * 6)]


llama = ctypes.CDLL(str(next(pathlib.Path(xllamacpp.__file__).parent.glob("*.so"))))
silent = ctypes.CFUNCTYPE(None, ctypes.c_int, ctypes.c_char_p, ctypes.c_void_p)(lambda *_: None)
llama.llama_log_set(silent, None)
for name, result, arguments in (
        ("llama_model_default_params", ModelParams, []), ("llama_context_default_params", ContextParams, []),
        ("llama_model_load_from_file", ctypes.c_void_p, [ctypes.c_char_p, ModelParams]),
        ("llama_init_from_model", ctypes.c_void_p, [ctypes.c_void_p, ContextParams]),
        ("llama_batch_get_one", Batch, [ctypes.POINTER(ctypes.c_int32), ctypes.c_int32]),
        ("llama_decode", ctypes.c_int32, [ctypes.c_void_p, Batch]),
        ("llama_get_logits", ctypes.POINTER(ctypes.c_float), [ctypes.c_void_p])):
    getattr(llama, name).restype, getattr(llama, name).argtypes = result, arguments


def last_logits(path):
    model = llama.llama_model_load_from_file(str(path).encode(), llama.llama_model_default_params())
    context = llama.llama_init_from_model(model, llama.llama_context_default_params())
    ids = (ctypes.c_int32 * 40)(*range(3, 43))
    assert llama.llama_decode(context, llama.llama_batch_get_one(ids, 40)) == 0
    return llama.llama_get_logits(context)[:64]


def of_the_converter(writer):
    writer.add_rope_scaling_yarn_attn_factor(3.0)
    writer.add_rope_scaling_yarn_beta_fast(4.0)


def of_every_architecture(writer):
    writer.add_float32("llama.rope.scaling.attn_factor", 3.0)


plain = last_logits(write("plain.gguf", lambda writer: None))
unread = last_logits(write("unread.gguf", of_the_converter)) == plain
read = last_logits(write("read.gguf", of_every_architecture)) == plain
print(f"the keys that the converter writes: same bits {unread}")
print(f"rope.scaling.attn_factor: same bits {read}")
sys.exit(0 if (unread, read) == (True, False) else 1)
PY
