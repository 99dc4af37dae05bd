"""A tiny random model of every family, made by transformers, for the tests."""

import torch
import transformers

DECODER = dict(vocab_size=96, hidden_size=64, intermediate_size=96, num_hidden_layers=2, num_attention_heads=4,
               num_key_value_heads=2, max_position_embeddings=128, bos_token_id=1, eos_token_id=2, pad_token_id=0)
BERT = dict(vocab_size=96, hidden_size=64, intermediate_size=96, num_hidden_layers=2, num_attention_heads=4,
            max_position_embeddings=130, pad_token_id=0)

CONFIGS = {
    "llama": (transformers.LlamaConfig, {**DECODER, "tie_word_embeddings": False}),
    "mistral": (transformers.MistralConfig, {**DECODER, "sliding_window": None}),
    "qwen2": (transformers.Qwen2Config, {**DECODER, "tie_word_embeddings": True}),
    "qwen3": (transformers.Qwen3Config, {**DECODER, "head_dim": 32, "tie_word_embeddings": True}),
    "gemma2": (transformers.Gemma2Config, {**DECODER, "head_dim": 32, "query_pre_attn_scalar": 32,
                                           "sliding_window": 16}),
    "gemma3_text": (transformers.Gemma3TextConfig, {**DECODER, "num_hidden_layers": 7, "head_dim": 32,
                                                    "query_pre_attn_scalar": 32, "sliding_window": 16}),
    "gpt2": (transformers.GPT2Config, {"vocab_size": 96, "n_positions": 128, "n_embd": 64, "n_layer": 2, "n_head": 4,
                                       "bos_token_id": 1, "eos_token_id": 2}),
    "bert": (transformers.BertConfig, BERT),
    "roberta": (transformers.RobertaConfig, {**BERT, "pad_token_id": 1}),
    "distilbert": (transformers.DistilBertConfig, {"vocab_size": 96, "dim": 64, "hidden_dim": 96, "n_layers": 2,
                                                   "n_heads": 4, "max_position_embeddings": 130}),
}
MASKED = {"bert", "roberta", "distilbert"}


def config(family: str, **changes):
    kind, fields = CONFIGS[family]
    return kind(**{**fields, **changes})


def make(family: str, dtype=torch.float32, **changes):
    """Weights of many sizes, so that an error in any of them shows."""
    torch.manual_seed(0)
    auto = transformers.AutoModelForMaskedLM if family in MASKED else transformers.AutoModelForCausalLM
    model = auto.from_config(config(family, **changes))
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.1)
    return model.to(dtype)


def load(family: str, folder, **more):
    auto = transformers.AutoModelForMaskedLM if family in MASKED else transformers.AutoModelForCausalLM
    return auto.from_pretrained(folder, **more)
