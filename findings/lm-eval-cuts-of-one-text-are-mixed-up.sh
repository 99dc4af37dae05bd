#!/usr/bin/env bash
# lm_eval gives a request another log-likelihood when a second request cuts the same text at another place.
#
# HFLM.loglikelihood of lm_eval 0.4.13 runs requests once that have the same tokens up to the continuation's last one:
# Collator groups by context + continuation[:-1], and keeps the longest continuation of a group. Its logits begin at that
# continuation's first token. A shorter one of the group then takes them from the front: is_greedy slices
# [:, -len(continuation):], the sum that is the answer does not, so its tokens are looked up where other tokens stand.
# ("the winter is", " long") beside ("the winter", " is long") gets what " long" would have behind "the winter".
# With logits_cache=False, or each in a call of its own, requests do not meet and the answers are right.
#
# Seen on 2026-12-01, CPU, Python 3.11, transformers 5.23.0, torch 2.11.0, a random llama of one layer:
#   each alone: [-6.4672, -3.4727]
#   together: [-6.4672, -2.3552]
#   together, logits_cache=False: [-6.4672, -3.4727]
#   by hand, long behind the winter is: -3.4727, behind the winter: -2.3552
# Exits 1 when that changes. Installs 5 GB, nearly all of it torch.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install -q lm_eval==0.4.13 transformers==5.23.0 tokenizers==0.23.3 accelerate==1.15.0 torch==2.11.0
cd "$work"
HF_HUB_OFFLINE=1 "$work/venv/bin/python" - 2>"$work/log" <<'PY' || { code=$?; tail -5 "$work/log" >&2; exit "$code"; }
import sys

import tokenizers
import torch
import transformers
from lm_eval.api.instance import Instance
from lm_eval.models.huggingface import HFLM

words = ["<s>", "the", "winter", "is", "long"]
tokenizer = tokenizers.Tokenizer(tokenizers.models.WordLevel({word: i for i, word in enumerate(words)}, unk_token="<s>"))
tokenizer.pre_tokenizer = tokenizers.pre_tokenizers.WhitespaceSplit()
torch.manual_seed(5)
model = transformers.LlamaForCausalLM(transformers.LlamaConfig(
    vocab_size=len(words), hidden_size=32, intermediate_size=64, num_hidden_layers=1, num_attention_heads=2,
    initializer_range=0.3, bos_token_id=0, eos_token_id=0)).eval()
fast = transformers.PreTrainedTokenizerFast(tokenizer_object=tokenizer, bos_token="<s>", eos_token="<s>")


def ask(pairs, **more):
    harness = HFLM(pretrained=model, tokenizer=fast, batch_size=1, device="cpu", **more)
    requests = [Instance(request_type="loglikelihood", doc={}, arguments=pair, idx=i) for i, pair in enumerate(pairs)]
    return [round(nats, 4) for nats, _ in harness.loglikelihood(requests, disable_tqdm=True)]


def by_hand(context, token):
    logits = model(torch.tensor([tokenizer.encode(context).ids])).logits[0, -1]
    return round(float(logits.log_softmax(-1)[words.index(token)].detach()), 4)


long, short = ("the winter", " is long"), ("the winter is", " long")
alone, together = ask([long]) + ask([short]), ask([long, short])
uncached = ask([long, short], logits_cache=False)
right, wrong = by_hand("the winter is", "long"), by_hand("the winter", "long")
print(f"each alone: {alone}")
print(f"together: {together}")
print(f"together, logits_cache=False: {uncached}")
print(f"by hand, long behind the winter is: {right}, behind the winter: {wrong}")
same = alone == uncached and alone[0] == together[0] and alone[1] == right
sys.exit(0 if same and together[1] == wrong != right else 1)
PY
