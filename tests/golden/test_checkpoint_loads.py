"""A checkpoint is a folder that Hugging Face transformers loads as it stands: weights, tokenizer,
generation. tests/worker/checkpoint/model_for_others_test.cc writes it.

    TRAINYARD_BUILD_DIR=build pytest tests/golden/test_checkpoint_loads.py
"""

import hashlib
import json
import os
import pathlib
import subprocess

import pytest

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")
safetensors = pytest.importorskip("safetensors")

REPOSITORY = pathlib.Path(__file__).resolve().parents[2]
BUILD = pathlib.Path(os.environ.get("TRAINYARD_BUILD_DIR", REPOSITORY / "build"))


@pytest.fixture(scope="module", params=["float32", "bfloat16"])
def checkpoint(request, tmp_path_factory):
    program = BUILD / "tests/checkpoint_test"
    if not program.exists():
        pytest.skip(f"{program} is not built")
    out = tmp_path_factory.mktemp("checkpoint")
    subprocess.run([program, "--gtest_filter=ModelForOthers.*"], check=True, capture_output=True,
                   env=os.environ | {"TRAINYARD_OUT_DIR": str(out)})
    return out / request.param


def expected(t: int, shape: list[int]) -> torch.Tensor:
    count = torch.Size(shape).numel()
    return (((7 * torch.arange(count) + 13 * t) % 31 - 15) / 64).reshape(shape)


def test_every_weight_is_the_one_that_was_written(checkpoint):
    model, info = transformers.AutoModelForCausalLM.from_pretrained(
        checkpoint, dtype="auto", output_loading_info=True)
    assert not any(info.values()), info
    assert model.dtype == getattr(torch, checkpoint.name)
    with safetensors.safe_open(checkpoint / "model.safetensors", "pt") as file:
        assert file.metadata() == {"format": "pt"}
    data = (checkpoint / "model.safetensors").read_bytes()
    by_place = json.loads(data[8:8 + int.from_bytes(data[:8], "little")])
    names = [name for name in by_place if name != "__metadata__"]
    weights = model.state_dict()
    assert set(names) == set(weights)
    for t, name in enumerate(names):
        assert torch.equal(weights[name].float(), expected(t, by_place[name]["shape"])), name


def test_the_optimizer_file_is_readable_and_holds_masters_only_for_bfloat16(checkpoint):
    with safetensors.safe_open(checkpoint / "trainyard/optimizer-policy.safetensors", "pt") as file:
        kinds = {name.split(".")[0] for name in file.keys()}
        moment = file.get_tensor("moment2.model.embed_tokens.weight")
    assert kinds == {"moment1", "moment2"} | ({"master"} if checkpoint.name == "bfloat16" else set())
    assert moment.dtype == torch.float32 and torch.equal(moment, expected(0, [29, 16]))


def test_the_tokenizer_loads_with_its_special_tokens(checkpoint):
    tokenizer = transformers.AutoTokenizer.from_pretrained(checkpoint)
    assert tokenizer("a b z").input_ids == [3, 4, 28]
    assert (tokenizer.eos_token_id, tokenizer.pad_token_id) == (0, 1)
    assert tokenizer.model_max_length == 64


def test_it_generates(checkpoint):
    model = transformers.AutoModelForCausalLM.from_pretrained(checkpoint)
    tokenizer = transformers.AutoTokenizer.from_pretrained(checkpoint)
    assert (model.generation_config.eos_token_id, model.generation_config.pad_token_id) == (0, 1)
    ids = tokenizer("a b", return_tensors="pt").input_ids
    words = model.generate(ids, max_new_tokens=4, do_sample=False)
    assert 3 <= words.shape[1] <= 6 and int(words.max()) < 29


def test_the_manifest_vouches_for_every_file(checkpoint):
    manifest = json.loads((checkpoint / "trainyard/manifest.json").read_text())
    files = {str(path.relative_to(checkpoint)) for path in checkpoint.rglob("*") if path.is_file()}
    assert {entry["path"] for entry in manifest["files"]} == files - {"trainyard/manifest.json"}
    for entry in manifest["files"]:
        data = (checkpoint / entry["path"]).read_bytes()
        assert (len(data), hashlib.sha256(data).hexdigest()) == (entry["size"], entry["sha256"])
    assert (manifest["version"], manifest["attempt"], manifest["step"]) == (1, 1, 3)
