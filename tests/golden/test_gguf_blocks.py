"""Our GGUF reader beside the package gguf: the values of every block type that we read are equal to
the bit, over random bytes, so with every scale that float16 has: tiny, negative, infinite, no number.

    TRAINYARD_BUILD_DIR=build pytest tests/golden/test_gguf_blocks.py
"""

import os
import pathlib
import subprocess

import pytest

np = pytest.importorskip("numpy")
gguf = pytest.importorskip("gguf")

REPOSITORY = pathlib.Path(__file__).resolve().parents[2]
BUILD = pathlib.Path(os.environ.get("TRAINYARD_BUILD_DIR", REPOSITORY / "build"))
PROBE = BUILD / "tests" / "gguf_probe"
TYPES = ["F32", "F16", "BF16", "Q4_0", "Q4_1", "Q5_0", "Q5_1", "Q8_0", "Q4_K", "Q5_K", "Q6_K"]
ROWS, BLOCKS = 64, 8


def random_rows(type_name: str, seed: int):
    """Rows of random bytes: every bit pattern of a block is a block."""
    kind = gguf.GGMLQuantizationType[type_name]
    _, block_bytes = gguf.GGML_QUANT_SIZES[kind]
    rows = np.random.default_rng(seed).integers(
        0, 256, (ROWS, BLOCKS * block_bytes), dtype=np.uint8)
    # No number at all, infinity, both zeros, the smallest and largest scales, as the first bytes.
    specials = np.array([0x7E00, 0xFC00, 0x0000, 0x8000, 0x0001, 0x83FF, 0x7BFF, 0x0400], np.uint16)
    if type_name not in ("F32", "BF16"):
        at = 208 if type_name == "Q6_K" else 0
        for row, bits in enumerate(specials):
            rows[row, at:at + 2] = bits.reshape(1).view(np.uint8)
    return kind, rows


def write(path: pathlib.Path, tensors: dict) -> None:
    writer = gguf.GGUFWriter(path, "llama")
    for name, (kind, rows) in tensors.items():
        writer.add_tensor(name, rows, raw_dtype=kind)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def test_every_type_is_read_to_the_bit(tmp_path):
    tensors = {name: random_rows(name, seed) for seed, name in enumerate(TYPES)}
    path = tmp_path / "blocks.gguf"
    write(path, tensors)
    run = subprocess.run([PROBE, "dequantise", path], capture_output=True)
    assert run.returncode == 0, run.stderr.decode()
    got = np.frombuffer(run.stdout, np.float32)
    for name, (kind, rows) in tensors.items():
        with np.errstate(all="ignore"):
            want = gguf.dequantize(rows, kind).ravel()
        ours, got = got[:want.size], got[want.size:]
        missing = np.isnan(want)
        assert np.array_equal(missing, np.isnan(ours)), name
        assert np.array_equal(ours[~missing].view(np.uint32), want[~missing].view(np.uint32)), name
        assert not missing.all() and (name == "BF16" or missing.any()), name
    assert got.size == 0
