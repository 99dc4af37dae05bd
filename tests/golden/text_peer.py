"""The program build/tests/text_peer (tests/worker/text/text_peer.cc): our text library, one JSON
request and answer a line."""

import json
import os
import pathlib
import subprocess

import pytest

REPOSITORY = pathlib.Path(__file__).resolve().parents[2]
PROGRAM = pathlib.Path(os.environ.get("TRAINYARD_BUILD_DIR", REPOSITORY / "build")) / "tests/text_peer"


class Peer:
    def __init__(self, threads: int = 0):
        if not PROGRAM.exists():
            pytest.skip(f"{PROGRAM} is not built")
        environment = os.environ | ({"RAYON_NUM_THREADS": str(threads)} if threads else {})
        self.process = subprocess.Popen([PROGRAM], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
                                        encoding="utf-8", env=environment)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.stdin.close()
        assert self.process.wait(60) == 0

    def ask(self, do: str, **request) -> dict:
        """The answer, which has "error" and "code" where the library refused."""
        self.process.stdin.write(json.dumps({"do": do, **request}) + "\n")
        self.process.stdin.flush()
        line = self.process.stdout.readline()
        assert line, f"text_peer died on {do}"
        return json.loads(line)

    def get(self, do: str, **request) -> dict:
        answer = self.ask(do, **request)
        assert "error" not in answer, answer
        return answer
