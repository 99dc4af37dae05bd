"""What `model import` costs beside reading, hashing and writing the weights once.

    python3 bench/import.py [--megabytes 500] [--rounds 5] [--type BF16] [--folder DIR]

Makes a llama of that size from random weights, then takes turns: the floor (one loop that reads a piece, adds it to a
SHA-256, writes it; a sync at the end) and the import. Prints the times, their ratio (median, least to most) and the
import's peak memory over the weights' bytes. The source is in the page cache for both. TRAINYARD_BUILD_DIR: the build.
"""

import argparse
import hashlib
import json
import os
import pathlib
import resource
import shutil
import statistics
import struct
import subprocess
import sys
import tempfile
import time

REPOSITORY = pathlib.Path(__file__).resolve().parents[1]
BUILD = pathlib.Path(os.environ.get("TRAINYARD_BUILD_DIR", REPOSITORY / "build"))
TRAINER = BUILD / "bin" / "trainyard-trainer"
PIECE = 1 << 18
WIDTH, VOCABULARY, HEAD = 1024, 32000, 64
BYTES = {"F32": 4, "BF16": 2, "F16": 2}


def shapes(layers: int) -> dict[str, list[int]]:
    tensors = {"model.embed_tokens.weight": [VOCABULARY, WIDTH], "model.norm.weight": [WIDTH]}
    for i in range(layers):
        block = f"model.layers.{i}."
        for name in ("q", "k", "v", "o"):
            tensors[block + f"self_attn.{name}_proj.weight"] = [WIDTH, WIDTH]
        for name in ("gate", "up"):
            tensors[block + f"mlp.{name}_proj.weight"] = [3 * WIDTH, WIDTH]
        tensors[block + "mlp.down_proj.weight"] = [WIDTH, 3 * WIDTH]
        for name in ("input", "post_attention"):
            tensors[block + name + "_layernorm.weight"] = [WIDTH]
    return tensors


def count(shape: list[int]) -> int:
    return shape[0] * (shape[1] if len(shape) == 2 else 1)


def make_model(folder: pathlib.Path, megabytes: int, dtype: str) -> int:
    """Returns the weights' bytes."""
    layers = 1
    while sum(map(count, shapes(layers).values())) * BYTES[dtype] < megabytes * 1_000_000:
        layers += 1
    header, offset = {"__metadata__": {"format": "pt"}}, 0
    for name, shape in shapes(layers).items():
        end = offset + count(shape) * BYTES[dtype]
        header[name] = {"dtype": dtype, "shape": shape, "data_offsets": [offset, end]}
        offset = end
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    folder.mkdir()
    # Bytes of which none is an exponent of ones: every value is finite.
    piece = bytes(b & 0x3F for b in os.urandom(PIECE))
    with open(folder / "model.safetensors", "wb") as file:
        file.write(struct.pack("<Q", len(text)) + text)
        for done in range(0, offset, PIECE):
            file.write(piece[:min(PIECE, offset - done)])
        file.flush()
        os.fsync(file.fileno())
    config = {"architectures": ["LlamaForCausalLM"], "model_type": "llama", "vocab_size": VOCABULARY,
              "hidden_size": WIDTH, "intermediate_size": 3 * WIDTH, "num_hidden_layers": layers,
              "num_attention_heads": WIDTH // HEAD, "num_key_value_heads": WIDTH // HEAD,
              "max_position_embeddings": 2048, "rms_norm_eps": 1e-5, "tie_word_embeddings": True}
    (folder / "config.json").write_text(json.dumps(config))
    return offset


def floor(source: pathlib.Path, target: pathlib.Path) -> float:
    begin = time.perf_counter()
    digest, piece = hashlib.sha256(), bytearray(PIECE)
    with open(source / "model.safetensors", "rb", buffering=0) as reads, open(target, "wb", buffering=0) as writes:
        while n := reads.readinto(piece):
            view = memoryview(piece)[:n]
            digest.update(view)
            writes.write(view)
        os.fsync(writes.fileno())
    return time.perf_counter() - begin


def import_model(trainer: pathlib.Path, source: pathlib.Path, target: pathlib.Path) -> float:
    begin = time.perf_counter()
    subprocess.run([trainer, "tool", "model", "import", source, target], check=True, capture_output=True)
    return time.perf_counter() - begin


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--megabytes", type=int, default=500)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--type", default="BF16", choices=BYTES)
    parser.add_argument("--folder", help="where to write; the disk that is measured")
    parser.add_argument("--other", type=pathlib.Path, help="another commit's build folder: its imports in the floor's place")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=options.folder) as work:
        work = pathlib.Path(work)
        weights = make_model(work / "model", options.megabytes, options.type)
        floors, imports = [], []
        for _ in range(options.rounds):
            if options.other:
                floors.append(import_model(options.other / "bin/trainyard-trainer", work / "model", work / "other"))
                shutil.rmtree(work / "other")
            else:
                floors.append(floor(work / "model", work / "copy"))
                (work / "copy").unlink()
            imports.append(import_model(TRAINER, work / "model", work / "imported"))
            shutil.rmtree(work / "imported")
    # Of the children, of which the imports are the only ones.
    peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss * 1024
    ratios = [ours / least for ours, least in zip(imports, floors)]

    def line(values, digits):
        return f"{statistics.median(values):.{digits}f} ({min(values):.{digits}f} to {max(values):.{digits}f})"

    print(f"weights            {weights / 1e6:.0f} MB of {options.type}")
    print(f"{'the other build' if options.other else 'read, hash, write':18s} {line(floors, 2)} s")
    print(f"import             {line(imports, 2)} s")
    print(f"ratio              {line(ratios, 2)}")
    print(f"peak memory        {peak / 1e6:.0f} MB, {peak / weights:.2f} of the weights")


if __name__ == "__main__":
    sys.exit(main())
