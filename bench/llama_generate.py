"""The peer of bench/generate.cc: llama.cpp on a GGUF file of the same shape, all prompts in one batch of sequences.

Run by a Python that has llama-cpp-python (bench/generate.py --llama).
"""

import argparse
import ctypes
import sys
import time

import llama_cpp.llama_cpp as llama
import numpy as np

parser = argparse.ArgumentParser()
parser.add_argument("file")
parser.add_argument("--prompts", type=int, default=16)
parser.add_argument("--new-tokens", type=int, default=48)
parser.add_argument("--threads", type=int, default=2)
options = parser.parse_args()

llama.llama_backend_init()
quiet = llama.llama_log_callback(lambda level, text, data: None)
llama.llama_log_set(quiet, None)
model = llama.llama_model_load_from_file(options.file.encode(), llama.llama_model_default_params())
vocab_size = llama.llama_vocab_n_tokens(llama.llama_model_get_vocab(model))
lengths = [20 + 10 * i for i in range(options.prompts)]
wanted = llama.llama_context_default_params()
wanted.n_ctx = options.prompts * (max(lengths) + options.new_tokens + 32)
wanted.n_batch = wanted.n_ubatch = sum(lengths)
wanted.n_seq_max = options.prompts
wanted.kv_unified = True
wanted.n_threads = wanted.n_threads_batch = options.threads
context = llama.llama_init_from_model(model, wanted)
rng = np.random.default_rng(1)
prompts = [rng.integers(0, vocab_size, length).tolist() for length in lengths]
batch = llama.llama_batch_init(sum(lengths), 0, 1)


def decode(items):
    """items: of each sequence its new tokens and the place of the first; the likeliest next token of each."""
    last, n = [], 0
    for sequence, (tokens, place) in enumerate(items):
        for i, token in enumerate(tokens):
            batch.token[n], batch.pos[n], batch.n_seq_id[n] = token, place + i, 1
            batch.seq_id[n][0], batch.logits[n] = sequence, i == len(tokens) - 1
            n += 1
        last.append(n - 1)
    batch.n_tokens = n
    assert llama.llama_decode(context, batch) == 0
    rows = (ctypes.cast(llama.llama_get_logits_ith(context, i), ctypes.POINTER(ctypes.c_float * vocab_size)) for i in last)
    return [int(np.frombuffer(row.contents, np.float32).argmax()) for row in rows]


for _ in sys.stdin:
    begin = time.perf_counter()
    llama.llama_memory_clear(llama.llama_get_memory(context), True)
    tokens = decode([(prompt, 0) for prompt in prompts])
    for step in range(options.new_tokens - 1):
        tokens = decode([([token], length + step) for token, length in zip(tokens, lengths)])
    print(f"{time.perf_counter() - begin:.6f}", flush=True)
