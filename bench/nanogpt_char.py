"""The peer of the quickstart: a character-level GPT of nanoGPT's CPU recipe, given the same time on the same bytes.

The recipe (nanoGPT README, "I only have a macbook"): 4 layers, 4 heads, 128 wide, rows of 64, batch 12, no dropout,
AdamW 1e-3 falling to 1e-4, beta2 0.99, warm-up 100. The model is written here from the GPT-2 paper, in plain PyTorch.

    python bench/nanogpt_char.py --train 'data/train/*.txt' --held-out 'data/held-out/*.txt' --seconds 180

Prints one JSON line: held-out bits per byte, steps, seconds.
"""

import argparse
import glob
import json
import math
import pathlib
import time

import torch
import torch.nn.functional as F
from torch import nn

LAYERS, HEADS, WIDTH, ROW, BATCH = 4, 4, 128, 64, 12


class Block(nn.Module):
    def __init__(self):
        super().__init__()
        self.norm_1, self.norm_2 = nn.LayerNorm(WIDTH, bias=False), nn.LayerNorm(WIDTH, bias=False)
        self.qkv, self.out = nn.Linear(WIDTH, 3 * WIDTH, bias=False), nn.Linear(WIDTH, WIDTH, bias=False)
        self.up, self.down = nn.Linear(WIDTH, 4 * WIDTH, bias=False), nn.Linear(4 * WIDTH, WIDTH, bias=False)

    def forward(self, x):
        b, t, d = x.shape
        q, k, v = (u.view(b, t, HEADS, d // HEADS).transpose(1, 2) for u in self.qkv(self.norm_1(x)).split(d, 2))
        y = F.scaled_dot_product_attention(q, k, v, is_causal=True)
        x = x + self.out(y.transpose(1, 2).reshape(b, t, d))
        return x + self.down(F.gelu(self.up(self.norm_2(x))))


class CharGpt(nn.Module):
    def __init__(self, vocabulary):
        super().__init__()
        self.token, self.place = nn.Embedding(vocabulary, WIDTH), nn.Embedding(ROW, WIDTH)
        self.blocks = nn.ModuleList(Block() for _ in range(LAYERS))
        self.norm = nn.LayerNorm(WIDTH, bias=False)
        for name, p in self.named_parameters():
            if p.dim() > 1:
                scale = math.sqrt(2 * LAYERS) if name.endswith(("out.weight", "down.weight")) else 1
                nn.init.normal_(p, std=0.02 / scale)

    def forward(self, ids):
        x = self.token(ids) + self.place.weight[: ids.shape[1]]
        for block in self.blocks:
            x = block(x)
        return self.norm(x) @ self.token.weight.T


def read(pattern):
    # Not read_text, which would turn CR LF into LF: bits are counted per byte of the files.
    return "\n".join(pathlib.Path(p).read_bytes().decode() for p in sorted(glob.glob(pattern)))


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--train", required=True)
    parser.add_argument("--held-out", required=True)
    parser.add_argument("--seconds", type=float, default=180)
    parser.add_argument("--threads", type=int, default=2)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    torch.manual_seed(1337)
    text, held_out = read(arguments.train), read(arguments.held_out)
    characters = sorted(set(text) | set(held_out))
    index = {c: i for i, c in enumerate(characters)}
    ids = torch.tensor([index[c] for c in text])
    model = CharGpt(len(characters))
    matrices = [p for p in model.parameters() if p.dim() > 1]
    others = [p for p in model.parameters() if p.dim() < 2]
    optimiser = torch.optim.AdamW([{"params": matrices, "weight_decay": 0.1}, {"params": others, "weight_decay": 0.0}],
                                  lr=1e-3, betas=(0.9, 0.99), fused=True)
    begun, step = time.monotonic(), 0
    while (spent := time.monotonic() - begun) < arguments.seconds:
        # The recipe's 2,000 steps stretched over the time there is.
        done = spent / arguments.seconds
        rate = 1e-3 * (step + 1) / 100 if step < 100 else 1e-4 + 0.45e-3 * (1 + math.cos(math.pi * done))
        for group in optimiser.param_groups:
            group["lr"] = rate
        begin = torch.randint(len(ids) - ROW - 1, (BATCH,))
        rows = torch.stack([ids[i : i + ROW + 1] for i in begin])
        loss = F.cross_entropy(model(rows[:, :-1]).flatten(0, 1), rows[:, 1:].flatten())
        optimiser.zero_grad(set_to_none=True)
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimiser.step()
        step += 1
    held = torch.tensor([index[c] for c in held_out])
    nats = 0.0
    with torch.no_grad():
        # Rows of ROW characters, many at a time; the last one is shorter.
        whole = (len(held) - 1) // ROW * ROW
        rows = list(zip(held[:whole].view(-1, ROW).split(256), held[1 : whole + 1].view(-1, ROW).split(256)))
        if whole < len(held) - 1:
            rows.append((held[None, whole:-1], held[None, whole + 1 :]))
        for row, target in rows:
            nats += F.cross_entropy(model(row).flatten(0, 1), target.flatten(), reduction="sum").item()
    print(json.dumps({"bits_per_byte": nats / math.log(2) / len(held_out.encode()), "steps": step,
                      "seconds": round(spent, 1), "parameters": sum(p.numel() for p in model.parameters()),
                      "torch": torch.__version__, "threads": arguments.threads}))


main()
