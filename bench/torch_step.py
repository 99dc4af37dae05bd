"""Training steps of a PyTorch peer at a named shape, one for every line of standard input.

The peer of bench/train_step.cc, driven by bench/train_step.py; answers each line with seconds and loss. Models: `nanogpt`
is GPT-2 written from its paper in plain modules, as nanoGPT trains it (scaled_dot_product_attention, fused AdamW, clipping,
gradients set to none); `transformers` is the library's GPT-2 or Llama with its sdpa attention.
Numbers: `bf16` holds parameters and moments in bfloat16, `autocast` holds them in float32 and multiplies in bfloat16.
"""

import argparse
import contextlib
import sys
import time

import torch
import torch.nn.functional as F
from torch import nn


class Block(nn.Module):
    def __init__(self, width, heads):
        super().__init__()
        self.heads = heads
        self.norm_1, self.norm_2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.qkv, self.out = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.up, self.down = nn.Linear(width, 4 * width), nn.Linear(4 * width, width)

    def forward(self, x):
        b, t, d = x.shape
        q, k, v = (u.view(b, t, self.heads, d // self.heads).transpose(1, 2)
                   for u in self.qkv(self.norm_1(x)).split(d, 2))
        y = F.scaled_dot_product_attention(q, k, v, is_causal=True)
        x = x + self.out(y.transpose(1, 2).reshape(b, t, d))
        return x + self.down(F.gelu(self.up(self.norm_2(x)), approximate="tanh"))


class NanoGpt(nn.Module):
    def __init__(self, layers, width, heads, vocab, positions):
        super().__init__()
        self.token, self.place = nn.Embedding(vocab, width), nn.Embedding(positions, width)
        self.blocks = nn.ModuleList(Block(width, heads) for _ in range(layers))
        self.norm = nn.LayerNorm(width)
        for p in self.parameters():
            if p.dim() > 1:
                nn.init.normal_(p, std=0.02)

    def forward(self, ids, targets):
        x = self.token(ids) + self.place.weight[: ids.shape[1]]
        for block in self.blocks:
            x = block(x)
        logits = self.norm(x) @ self.token.weight.T
        return F.cross_entropy(logits.view(-1, logits.size(-1)), targets.view(-1))


class Transformers(nn.Module):
    def __init__(self, family, layers, width, heads, vocab, positions):
        super().__init__()
        from transformers import AutoConfig, AutoModelForCausalLM
        if family == "gpt2":
            config = AutoConfig.for_model("gpt2", vocab_size=vocab, n_embd=width, n_layer=layers, n_head=heads,
                                          n_positions=positions, resid_pdrop=0.0, embd_pdrop=0.0, attn_pdrop=0.0)
        else:
            inner = (8 * width // 3 + 31) // 32 * 32
            config = AutoConfig.for_model("llama", vocab_size=vocab, hidden_size=width, num_hidden_layers=layers,
                                          num_attention_heads=heads, num_key_value_heads=heads,
                                          intermediate_size=inner, max_position_embeddings=positions,
                                          tie_word_embeddings=True)
        self.model = AutoModelForCausalLM.from_config(config, attn_implementation="sdpa")

    def forward(self, ids, targets):
        logits = self.model(ids, use_cache=False).logits
        return F.cross_entropy(logits.view(-1, logits.size(-1)), targets.view(-1))


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--model", choices=["nanogpt", "transformers"], default="nanogpt")
    parser.add_argument("--family", choices=["gpt2", "llama"], default="gpt2")
    parser.add_argument("--numbers", choices=["bf16", "autocast", "fp32"], default="bf16")
    for name, value in (("layers", 12), ("width", 768), ("heads", 12), ("vocab", 50304), ("rows", 4),
                        ("length", 512), ("threads", 2)):
        parser.add_argument(f"--{name}", type=int, default=value)
    parser.add_argument("--device", choices=["cpu", "cuda"], default="cpu")
    parser.add_argument("--compile", action="store_true", help="torch.compile the model")
    a = parser.parse_args()
    torch.set_num_threads(a.threads)
    torch.manual_seed(1)
    positions = max(1024, a.length)
    if a.model == "nanogpt":
        model = NanoGpt(a.layers, a.width, a.heads, a.vocab, positions)
    else:
        model = Transformers(a.family, a.layers, a.width, a.heads, a.vocab, positions)
    if a.numbers == "bf16":
        model = model.to(torch.bfloat16)
    model.train().to(a.device)
    if a.compile:
        model = torch.compile(model)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-4, betas=(0.9, 0.95), weight_decay=0.1, fused=True)
    autocast = torch.autocast(a.device, torch.bfloat16) if a.numbers == "autocast" else contextlib.nullcontext()
    batches = [torch.randint(a.vocab, (a.rows, a.length), device=a.device) for _ in range(8)]
    for step, _ in enumerate(sys.stdin):
        begin = time.perf_counter()
        ids = batches[step % 8]
        with autocast:
            loss = model(ids, ids)
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        value = loss.item()
        print(f"{time.perf_counter() - begin:.6f} {value:.6f}", flush=True)


main()
