"""Records what transformers computes on tiny models, for worker/engine to be compared with.

    python tests/golden/record_parity.py FOLDER [--wide]

One JSON file per model: its config, weights, batches, logits, loss, per-tensor gradients and the
weights after 20 AdamW updates. Arrays are base64 of little-endian float32. Everything is float32,
seeded and on one thread. --wide records models with longer rows and wider layers; the small ones
are committed under tests/golden/parity.
"""

import argparse
import base64
import json
import pathlib

import torch
import transformers

UPDATES = 20
ADAMW = {"learning_rate": 1e-4, "beta1": 0.9, "beta2": 0.95, "epsilon": 1e-8, "weight_decay": 0.1,
         "max_grad_norm": 1.0}


def configs(wide):
    llama = dict(vocab_size=40, hidden_size=16, num_hidden_layers=2, num_attention_heads=4,
                 num_key_value_heads=2, intermediate_size=24, max_position_embeddings=32,
                 tie_word_embeddings=False, bos_token_id=0, eos_token_id=1)
    gpt2 = dict(vocab_size=40, n_embd=16, n_layer=2, n_head=2, n_inner=32, n_positions=24,
                resid_pdrop=0.0, embd_pdrop=0.0, attn_pdrop=0.0, bos_token_id=0, eos_token_id=1)
    if wide:
        llama.update(vocab_size=500, hidden_size=96, num_hidden_layers=3, intermediate_size=256,
                     max_position_embeddings=512, rope_theta=20000.0)
        gpt2.update(vocab_size=500, n_embd=96, n_layer=3, n_head=4, n_inner=None, n_positions=256)
    made = {"llama": transformers.LlamaConfig(**llama), "gpt2": transformers.GPT2Config(**gpt2)}
    if wide:
        tied = dict(llama, tie_word_embeddings=True, num_key_value_heads=4, head_dim=32)
        made["llama-tied"] = transformers.LlamaConfig(**tied)
    return made


def encode(tensor):
    return base64.b64encode(tensor.detach().to(torch.float32).contiguous().numpy().astype("<f4")
                            .tobytes()).decode()


def randomise(model, generator):
    """No tensor at its initial value: an error in a norm's weight or a bias must show."""
    with torch.no_grad():
        for name, tensor in model.named_parameters():
            deviation = 0.3 if tensor.dim() == 1 else tensor.shape[-1] ** -0.5
            tensor.normal_(0.0, deviation, generator=generator)
            if tensor.dim() == 1 and name.endswith("weight"):
                tensor.add_(1.0)


def loss_of(model, ids):
    return model(input_ids=ids, labels=ids).loss


def train(model, batches):
    decayed = [p for p in model.parameters() if p.dim() >= 2]
    others = [p for p in model.parameters() if p.dim() < 2]
    optimizer = torch.optim.AdamW(
        [{"params": decayed, "weight_decay": ADAMW["weight_decay"]},
         {"params": others, "weight_decay": 0.0}],
        lr=ADAMW["learning_rate"], betas=(ADAMW["beta1"], ADAMW["beta2"]), eps=ADAMW["epsilon"])
    for update in range(UPDATES):
        optimizer.zero_grad()
        loss_of(model, batches[update % len(batches)]).backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), ADAMW["max_grad_norm"])
        optimizer.step()


def record(config, rows, length):
    generator = torch.Generator().manual_seed(7)
    model = transformers.AutoModelForCausalLM.from_config(config, attn_implementation="eager")
    model = model.float().train()
    randomise(model, generator)
    batches = [torch.randint(0, config.vocab_size, (rows, length), generator=generator)
               for _ in range(3)]
    weights = {name: encode(p) for name, p in model.named_parameters()}
    shapes = {name: list(p.shape) for name, p in model.named_parameters()}

    logits = model(input_ids=batches[0]).logits
    loss = loss_of(model, batches[0])
    loss.backward()
    gradients = {name: encode(p.grad) for name, p in model.named_parameters()}
    model.set_attn_implementation("sdpa")
    with torch.no_grad():
        gap = (model(input_ids=batches[0]).logits - logits).abs().max().item()
    model.set_attn_implementation("eager")
    train(model, batches)
    updated = {name: encode(p) for name, p in model.named_parameters()}
    return {
        "recorded_with": {"transformers": transformers.__version__,
                          "torch": torch.__version__.split("+")[0]},
        "config": json.loads(config.to_json_string(use_diff=False)),
        "updates": UPDATES, "adamw": ADAMW,
        "batches": [batch.tolist() for batch in batches],
        "shapes": shapes, "weights": weights, "gradients": gradients, "updated": updated,
        "logits": encode(logits), "eager_sdpa_gap": gap, "loss": loss.item(),
    }


def main():
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=pathlib.Path)
    parser.add_argument("--wide", action="store_true")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    arguments.folder.mkdir(parents=True, exist_ok=True)
    rows, length = (3, 200) if arguments.wide else (2, 12)
    for name, config in configs(arguments.wide).items():
        fields = record(config, rows, length)
        lines = ",\n".join(f"{json.dumps(key)}: {json.dumps(value)}" for key, value in fields.items())
        (arguments.folder / f"{name}.json").write_text("{" + lines + "}\n")


if __name__ == "__main__":
    main()
