"""A masked job's checkpoint is a folder that transformers loads as a masked model, with the tokens its
tokenizer masks, begins, ends and pads with; and the two agree on what stands at a masked place.

    TRAINYARD_BUILD_DIR=build pytest tests/golden/test_masked_job.py
"""

import json
import math
import os
import pathlib
import random
import subprocess

import pytest

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")

REPOSITORY = pathlib.Path(__file__).resolve().parents[2]
BUILD = pathlib.Path(os.environ.get("TRAINYARD_BUILD_DIR", REPOSITORY / "build"))
TRAINER = BUILD / "bin/trainyard-trainer"
VOCABULARY = 300
JOB = """version: 1
name: masked
kind: pretrain
objective: masked
model:
  config: {{model_type: bert, hidden_size: 64, num_hidden_layers: 2, num_attention_heads: 2,
           intermediate_size: 256, max_position_embeddings: 64, initializer_range: 0.06}}
tokenizer: {{train: {{type: {type}, vocab_size: {vocabulary}}}}}
data:
  train: [{{path: {folder}/train.txt}}]
  validation: [{{path: {folder}/validation.txt}}]
train: {{max_steps: 320, global_batch_size: 64, max_length: 48, learning_rate: 3.0e-3, warmup_steps: 40,
        precision: fp32, logging_steps: 20}}
masking: {{probability: 0.3}}  # a masked model long guesses by frequency alone; this ends it in 250 steps
checkpoint: {{save_steps: 0}}
evaluation: {{eval_steps: 0, max_rows: 64}}
"""


def sentences(count, seed):
    draw = random.Random(seed)
    names, verbs = ["Anna", "Boris", "Clara"], ["greets", "follows", "paints"]
    places, times = ["harbour", "orchard", "library"], ["morning", "evening", "winter"]
    return "".join(f"in the {draw.choice(times)} near the old {draw.choice(places)} , {draw.choice(names)} "
                   f"{draw.choice(verbs)} {draw.choice(names)} .\n" for _ in range(count))


@pytest.fixture(scope="module", params=["bpe", "wordpiece"])
def trained(request, tmp_path_factory):
    if not TRAINER.exists():
        pytest.skip(f"{TRAINER} is not built")
    folder = tmp_path_factory.mktemp("masked")
    (folder / "train.txt").write_text(sentences(2000, 1))
    (folder / "validation.txt").write_text(sentences(200, 2))
    # Three times three words make few pieces beside letters and bytes.
    vocabulary = {"bpe": VOCABULARY, "wordpiece": 60}[request.param]
    (folder / "job.yaml").write_text(JOB.format(type=request.param, vocabulary=vocabulary, folder=folder))
    done = subprocess.run([TRAINER, "run", folder / "job.yaml", "--out", folder / "out"],
                          capture_output=True, text=True)
    if "is not built yet" in done.stderr:
        pytest.skip(done.stderr.strip().splitlines()[-1])
    assert done.returncode == 0, done.stderr
    metrics = {}
    for line in (folder / "out/metrics.jsonl").read_text().splitlines():
        point = json.loads(line)
        metrics[point["name"]] = point["value"]
    return folder / "out/checkpoints/masked/step-00000320-a1", metrics, request.param


def test_transformers_loads_it_whole(trained):
    folder, _, kind = trained
    model, info = transformers.AutoModelForMaskedLM.from_pretrained(folder, output_loading_info=True)
    assert not any(info.values()), info
    assert isinstance(model, transformers.BertForMaskedLM)
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    assert len(tokenizer) == model.config.vocab_size
    assert tokenizer.pad_token_id == model.config.pad_token_id
    if kind == "wordpiece":
        assert [tokenizer.mask_token, tokenizer.cls_token, tokenizer.sep_token, tokenizer.unk_token,
                tokenizer.pad_token] == ["[MASK]", "[CLS]", "[SEP]", "[UNK]", "[PAD]"]
        ids = tokenizer("in the winter").input_ids
        assert (ids[0], ids[-1]) == (tokenizer.cls_token_id, tokenizer.sep_token_id)
    else:
        assert tokenizer.mask_token == "<mask>"
    assert not (folder / "generation_config.json").exists()


def test_it_predicts_what_it_learned(trained):
    folder, metrics, _ = trained
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    model = transformers.AutoModelForMaskedLM.from_pretrained(folder).eval()
    ids = tokenizer("in the winter near the old harbour , Anna greets Boris .\n", return_tensors="pt").input_ids[0]
    # Every ordinary place masked in turn: the same count as the job's own.
    nats, places, right = 0.0, 0, 0
    for place, token in enumerate(ids.tolist()):
        if token in tokenizer.all_special_ids:
            continue
        masked = ids.clone()
        masked[place] = tokenizer.mask_token_id
        with torch.no_grad():
            logprobs = model(masked[None]).logits[0, place].log_softmax(-1)
        nats, places = nats - logprobs[token].item(), places + 1
        right += int(logprobs.argmax().item() == token)
    assert metrics["eval_masked_accuracy"] > 3 * metrics["eval_commonest_token_accuracy"]
    assert right / places > 0.5
    # One sentence against many: pseudo-perplexities of one kind.
    assert 0.3 < math.exp(nats / places) / metrics["eval_pseudo_perplexity"] < 3
