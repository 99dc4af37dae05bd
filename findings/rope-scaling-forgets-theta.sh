#!/usr/bin/env bash
# What an edit of config.json that lengthens a context does in transformers, against a good guess.
# Versions: transformers 5.23.0 (PyPI), without torch: config classes alone.
#
# 1. Files that transformers 5 writes have rope_parameters with the model's rope_theta in it. The edit that model
#    cards advise, a rope_scaling beside it, replaces the whole object: the theta in it is gone too, and the rope is
#    built on 10,000. No warning. (rope_scaling has to bring its own rope_theta.)
# 2. In a Gemma 3 text config rope_scaling with the key "type" (transformers 4's name, read in every other family)
#    scales nothing: a default rope_type is there already and wins. With "rope_type" it scales.
#
# Seen:
#   llama {'rope_type': 'linear', 'factor': 4.0, 'rope_theta': 10000.0}, the file's theta was 500000.0
#   qwen2 {'rope_type': 'linear', 'factor': 4.0, 'rope_theta': 10000.0}, the file's theta was 500000.0
#   gemma3_text with type: default; with rope_type: linear
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check transformers==5.23.0
"$folder/venv/bin/python" - <<'PY'
import transformers

scaling = {"rope_type": "linear", "factor": 4.0}
for kind in (transformers.LlamaConfig, transformers.Qwen2Config):
    file = {"rope_parameters": {"rope_type": "default", "rope_theta": 500000.0}, "rope_scaling": dict(scaling)}
    read = kind.from_dict(file).rope_parameters
    print(f"{kind.model_type} {read}, the file's theta was 500000.0")
    assert read == {**scaling, "rope_theta": 10000.0}, read
kinds = [transformers.Gemma3TextConfig.from_dict({"rope_scaling": {key: "linear", "factor": 4.0}})
         .rope_parameters["full_attention"]["rope_type"] for key in ("type", "rope_type")]
print(f"gemma3_text with type: {kinds[0]}; with rope_type: {kinds[1]}")
assert kinds == ["default", "linear"], kinds
PY
