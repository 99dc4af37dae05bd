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
    """Every family, with what it can have switched on: windows shorter than the rows, caps, scaled
    rope, biases."""
    sizes = dict(vocab_size=500, hidden_size=96, num_hidden_layers=3, num_attention_heads=4,
                 intermediate_size=256, max_position_embeddings=512) if wide else \
        dict(vocab_size=40, hidden_size=16, num_hidden_layers=2, num_attention_heads=4,
             intermediate_size=24, max_position_embeddings=32)
    ids = dict(bos_token_id=0, eos_token_id=1, pad_token_id=2)
    grouped = dict(sizes, **ids, num_key_value_heads=2, tie_word_embeddings=False)
    window = 64 if wide else 5
    sliding = dict(use_sliding_window=True, sliding_window=window, max_window_layers=1)
    gemma = dict(grouped, tie_word_embeddings=True, head_dim=sizes["hidden_size"] // 2,
                 query_pre_attn_scalar=24, sliding_window=window)
    gpt2 = dict(vocab_size=sizes["vocab_size"], n_embd=sizes["hidden_size"],
                n_layer=sizes["num_hidden_layers"], n_head=4 if wide else 2,
                n_inner=None if wide else 32, n_positions=256 if wide else 24, resid_pdrop=0.0,
                embd_pdrop=0.0, attn_pdrop=0.0, bos_token_id=0, eos_token_id=1)
    quiet = dict(hidden_dropout_prob=0.0, attention_probs_dropout_prob=0.0)
    distil = dict(vocab_size=sizes["vocab_size"], dim=sizes["hidden_size"],
                  n_layers=sizes["num_hidden_layers"], n_heads=4,
                  hidden_dim=sizes["intermediate_size"], dropout=0.0, attention_dropout=0.0,
                  max_position_embeddings=sizes["max_position_embeddings"], **ids)
    t = transformers
    made = {
        "llama": t.LlamaConfig(**dict(grouped, rope_theta=20000.0 if wide else 10000.0)),
        "gpt2": t.GPT2Config(**gpt2),
        "mistral": t.MistralConfig(**dict(grouped, sliding_window=window)),
        "qwen2": t.Qwen2Config(**dict(grouped, **sliding)),
        "qwen3": t.Qwen3Config(**dict(grouped, **sliding, head_dim=8, tie_word_embeddings=True)),
        "gemma2": t.Gemma2Config(**dict(gemma, attn_logit_softcapping=2.0,
                                        final_logit_softcapping=3.0)),
        "gemma3_text": t.Gemma3TextConfig(**dict(gemma, sliding_window_pattern=2)),
        "bert": t.BertConfig(**sizes, **ids, **quiet),
        "roberta": t.RobertaConfig(**sizes, **ids, **quiet, type_vocab_size=1),
        "distilbert": t.DistilBertConfig(**distil),
    }
    if wide:
        rope = dict(rope_theta=10000.0, original_max_position_embeddings=64, factor=8.0)
        scaled = lambda **fields: t.LlamaConfig(**dict(grouped, rope_parameters=dict(rope, **fields)))
        made["llama-tied"] = t.LlamaConfig(**dict(grouped, tie_word_embeddings=True,
                                                  num_key_value_heads=4, head_dim=32,
                                                  attention_bias=True, mlp_bias=True))
        made["llama-llama3"] = scaled(rope_type="llama3", low_freq_factor=1.0, high_freq_factor=4.0)
        made["llama-yarn"] = scaled(rope_type="yarn")
        made["llama-linear"] = t.LlamaConfig(**dict(
            grouped, rope_parameters={"rope_type": "linear", "rope_theta": 10000.0, "factor": 4.0}))
    return made


def encode(tensor):
    return base64.b64encode(tensor.detach().to(torch.float32).contiguous().numpy().astype("<f4")
                            .tobytes()).decode()


def randomise(model, generator):
    """No tensor at its initial value: an error in a norm's weight or a bias must show."""
    is_gemma = model.config.model_type.startswith("gemma")
    with torch.no_grad():
        for name, tensor in model.named_parameters():
            deviation = 0.3 if tensor.dim() == 1 else tensor.shape[-1] ** -0.5
            tensor.normal_(0.0, deviation, generator=generator)
            if tensor.dim() == 1 and name.endswith("weight") and not is_gemma:
                tensor.add_(1.0)  # Gemma's norms add it themselves


def is_masked(config):
    return config.model_type in ("bert", "roberta", "distilbert")


def masked(ids, generator):
    """A third of the places become targets, with the ids that stand there changed."""
    chosen = torch.rand(ids.shape, generator=generator) < 1 / 3
    chosen[:, 1] = True
    labels = torch.where(chosen, ids, -100)
    # Not the ids up to the pad: transformers' embeddings give the pad's row no gradient.
    shown = torch.where(chosen, (ids + 7 - 3) % (ids.max() - 2) + 3, ids)
    return shown, labels


def loss_of(model, batch):
    ids, labels = batch
    return model(input_ids=ids, labels=labels).loss


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
    auto = transformers.AutoModelForMaskedLM if is_masked(config) else \
        transformers.AutoModelForCausalLM
    model = auto.from_config(config, attn_implementation="eager")
    model = model.float().train()
    randomise(model, generator)
    ids = [torch.randint(3, config.vocab_size, (rows, length), generator=generator)
           for _ in range(3)]
    batches = [masked(i, generator) if is_masked(config) else (i, i) for i in ids]
    weights = {name: encode(p) for name, p in model.named_parameters()}
    shapes = {name: list(p.shape) for name, p in model.named_parameters()}

    logits = model(input_ids=batches[0][0]).logits
    loss = loss_of(model, batches[0])
    loss.backward()
    gradients = {name: encode(p.grad) for name, p in model.named_parameters()}
    gap = 0.0
    if config.model_type != "gemma2":  # whose sdpa leaves out the cap
        model.set_attn_implementation("sdpa")
        with torch.no_grad():
            gap = (model(input_ids=batches[0][0]).logits - logits).abs().max().item()
        model.set_attn_implementation("eager")
    train(model, batches)
    updated = {name: encode(p) for name, p in model.named_parameters()}
    return {
        "recorded_with": {"transformers": transformers.__version__,
                          "torch": torch.__version__.split("+")[0]},
        "config": json.loads(config.to_json_string(use_diff=False)),
        "updates": UPDATES, "adamw": ADAMW,
        "batches": [shown.tolist() for shown, _ in batches],
        "targets": [[[-1 if i < 0 else i for i in row] for row in labels.tolist()]
                    for _, labels in batches] if is_masked(config) else [],
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
