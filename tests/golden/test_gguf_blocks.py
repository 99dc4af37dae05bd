"""Our GGUF reader and writer beside the package gguf. The values of every block type that we read
are equal to the bit, over random bytes, so with every scale that float16 has: tiny, negative,
infinite, no number. The blocks that we write are those that the package's quantisers make.

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
WRITTEN = ["F32", "F16", "BF16", "Q8_0", "Q5_0", "Q4_0"]
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


def odd_values():
    """Normal weights of many sizes, zeros, ties, subnormals, and the largest that all types hold."""
    draw = np.random.default_rng(7)
    rows = draw.standard_normal((256, 256)) * np.exp2(draw.integers(-30, 12, (256, 1)))
    rows[0] = 0
    rows[1] = -0.0
    rows[2] = 1
    rows[3] = np.arange(256) - 128
    rows[4] = np.arange(256) / 2 - 63.5
    rows[5] = np.repeat([60000, -60000, 6e-8, 2.98e-8], 64)
    rows[6, ::32], rows[6, 1::32] = 5e4, -5e4  # the largest of a block twice, with either sign
    return rows.astype(np.float32)


@pytest.mark.parametrize("type_name", WRITTEN)
def test_every_type_is_written_to_the_bit(type_name):
    rows = odd_values()
    run = subprocess.run([PROBE, "quantise", type_name], input=rows.tobytes(), capture_output=True)
    assert run.returncode == 0, run.stderr.decode()
    with np.errstate(all="ignore"):
        want = gguf.quantize(rows, gguf.GGMLQuantizationType[type_name])
    assert run.stdout == want.tobytes()


def test_the_package_reads_what_we_write(tmp_path):
    ours, theirs = tmp_path / "ours.gguf", tmp_path / "theirs.gguf"
    writer = gguf.GGUFWriter(theirs, "llama")
    writer.add_block_count(2)
    writer.add_float32("float", 0.1)
    writer.add_bool("flag", True)
    writer.add_array("tokens", ["a", "", "Ġé"])
    writer.add_array("numbers", [1, -2, 3])
    writer.add_array("reals", [0.25, -1.5])
    writer.add_uint64("large", 2**64 - 1)
    writer.add_int8("small", -7)
    writer.add_float64("wide", 1 / 3)
    rows = np.random.default_rng(3).standard_normal((3, 256)).astype(np.float32)
    for name in WRITTEN:
        kind = gguf.GGMLQuantizationType[name]
        writer.add_tensor(name, gguf.quantize(rows, kind), raw_dtype=kind)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    subprocess.run([PROBE, "copy", theirs, ours], check=True)
    first, second = gguf.GGUFReader(theirs), gguf.GGUFReader(ours)
    assert set(first.fields) == set(second.fields)
    for key, field in first.fields.items():
        assert (field.types, field.contents()) == (second.fields[key].types, second.fields[key].contents())
    assert [t.name for t in second.tensors] == WRITTEN
    for a, b in zip(first.tensors, second.tensors):
        assert a.tensor_type == b.tensor_type and list(a.shape) == list(b.shape)
        assert a.data.tobytes() == b.data.tobytes(), a.name
