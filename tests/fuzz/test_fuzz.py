"""Every fuzz target for a few seconds: a finding fails its test, with where to look.

    TRAINYARD_FUZZ_SECONDS=600 pytest tests/fuzz/test_fuzz.py
"""

import os
import pathlib
import shutil
import subprocess

import pytest

HERE = pathlib.Path(__file__).resolve().parent
SECONDS = os.environ.get("TRAINYARD_FUZZ_SECONDS", "20")
TARGETS = sorted(path.name.removesuffix("_fuzz.cc") for path in HERE.glob("*_fuzz.cc"))


@pytest.fixture(scope="module")
def said(tmp_path_factory):
    """What `run` says of each target; it runs two at a time."""
    if shutil.which("clang++") is None:
        pytest.skip("needs clang++, which libFuzzer comes with")
    findings = tmp_path_factory.mktemp("findings")
    ran = subprocess.run([HERE / "run", SECONDS, findings], capture_output=True, text=True,
                         timeout=1200 + len(TARGETS) * int(SECONDS))
    print(ran.stdout, ran.stderr)
    lines = (line.split(": ", 1) for line in ran.stdout.splitlines() if ": " in line)
    return dict(lines)


@pytest.mark.parametrize("target", TARGETS)
def test_finds_nothing(said, target):
    assert "nothing found" in said.get(target, "it did not run"), said
