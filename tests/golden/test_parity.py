"""Our engine beside the installed transformers: wider models than the committed recordings, made on
the spot, and our config.json read back by AutoConfig.

    TRAINYARD_BUILD_DIR=build pytest tests/golden/test_parity.py
"""

import json
import os
import pathlib
import subprocess
import sys

import pytest

torch = pytest.importorskip("torch", reason="needs a torch that Python can import",
                            exc_type=ImportError)
transformers = pytest.importorskip("transformers")

HERE = pathlib.Path(__file__).resolve().parent
BUILD = pathlib.Path(os.environ.get("TRAINYARD_BUILD_DIR", HERE.parents[1] / "build"))
PROGRAM = BUILD / "tests" / "parity_test"


def assert_same(ours, wanted, where):
    """None, and a key that is not there: transformers' default, which we write out."""
    if isinstance(wanted, dict) and isinstance(ours, dict):
        for key, value in wanted.items():
            if value is not None:
                assert_same(ours[key], value, f"{where}.{key}")
    elif wanted is not None:
        assert ours == pytest.approx(wanted), where


@pytest.mark.parametrize("wide", [False, True])
def test_the_engine_agrees_with_a_fresh_recording(tmp_path, wide):
    recordings, configs = tmp_path / "recordings", tmp_path / "configs"
    configs.mkdir()
    subprocess.run([sys.executable, HERE / "record_parity.py", recordings] +
                   (["--wide"] if wide else []), check=True, timeout=300)
    environment = dict(os.environ, TRAINYARD_GOLDEN_DIR=str(recordings),
                       TRAINYARD_CONFIG_OUT=str(configs))
    ran = subprocess.run([PROGRAM], env=environment, capture_output=True, text=True, timeout=300)
    assert ran.returncode == 0, ran.stdout[-6000:] + ran.stderr[-2000:]

    names = sorted(path.name for path in recordings.glob("*.json"))
    assert names and names == sorted(path.name for path in configs.glob("*.json"))
    for name in names:
        recorded = json.loads((recordings / name).read_text())
        folder = tmp_path / name.removesuffix(".json")
        folder.mkdir()
        (folder / "config.json").write_text((configs / name).read_text())
        ours = transformers.AutoConfig.from_pretrained(folder)
        for key, value in json.loads((configs / name).read_text()).items():
            if recorded["config"].get(key) is not None:
                assert_same(getattr(ours, key), recorded["config"][key], f"{name}: {key}")
        model = getattr(transformers, ours.architectures[0])._from_config(ours)
        assert {n: list(p.shape) for n, p in model.named_parameters()} == recorded["shapes"]
