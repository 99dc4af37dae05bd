"""The peer of bench/generate.cc: transformers' generate on the same shape, prompts padded on the left as it wants them."""

import argparse
import sys
import time

import torch
import transformers

parser = argparse.ArgumentParser()
parser.add_argument("--precision", default="fp32")
parser.add_argument("--prompts", type=int, default=16)
parser.add_argument("--new-tokens", type=int, default=48)
parser.add_argument("--threads", type=int, default=2)
options = parser.parse_args()

torch.set_num_threads(options.threads)
config = transformers.LlamaConfig(
    vocab_size=49152, hidden_size=576, num_hidden_layers=30, num_attention_heads=9, num_key_value_heads=3,
    intermediate_size=1536, max_position_embeddings=2048, rope_theta=100000.0, tie_word_embeddings=True,
    bos_token_id=None, eos_token_id=None, pad_token_id=0)
model = transformers.AutoModelForCausalLM.from_config(config, attn_implementation="sdpa")
model = model.to(torch.bfloat16 if options.precision == "bf16" else torch.float32).eval()
lengths = [20 + 10 * i for i in range(options.prompts)]
ids = torch.zeros(options.prompts, max(lengths), dtype=torch.long)
mask = torch.zeros_like(ids)
for row, length in enumerate(lengths):
    ids[row, -length:] = torch.randint(1, 49152, (length,))
    mask[row, -length:] = 1
for _ in sys.stdin:
    begin = time.perf_counter()
    with torch.no_grad():
        out = model.generate(ids, attention_mask=mask, do_sample=False, min_new_tokens=options.new_tokens,
                             max_new_tokens=options.new_tokens)
    assert out.shape[1] == ids.shape[1] + options.new_tokens
    print(f"{time.perf_counter() - begin:.6f}", flush=True)
