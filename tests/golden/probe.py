"""Asks the engine what it computes on a model: model_probe.cc says what can be asked."""

import json
import os
import pathlib
import subprocess
import tempfile

import numpy

HERE = pathlib.Path(__file__).resolve().parent
BUILD = pathlib.Path(os.environ.get("TRAINYARD_BUILD_DIR", HERE.parents[1] / "build"))


def ask(model, items=(), want=(), prompts=(), **more):
    """{want: rows of float32, one per token of all items; "greedy": ids per prompt}."""
    with tempfile.TemporaryDirectory() as folder:
        folder = pathlib.Path(folder)
        run(model, folder, items=[list(i) for i in items], want=list(want),
            prompts=[list(p) for p in prompts], **more)
        answer = {name: numpy.fromfile(folder / f"{name}.f32", "<f4") for name in want}
        tokens = sum(len(i) for i in items)
        for name in want:
            if name != "logprobs":
                answer[name] = answer[name].reshape(tokens, -1)
        if prompts:
            answer["greedy"] = json.loads((folder / "greedy.json").read_text())
        return answer


def ask_each(folder, names, items, want="logits"):
    """Of many models, in one process: {name: rows, or the text of the error}."""
    with tempfile.TemporaryDirectory() as out:
        out = pathlib.Path(out)
        run(folder, out, items=[list(i) for i in items], want=[want], models=list(names))
        tokens = sum(len(i) for i in items)
        return {name: (out / name / "error.txt").read_text() if (out / name / "error.txt").exists()
                else numpy.fromfile(out / name / f"{want}.f32", "<f4").reshape(tokens, -1)
                for name in names}


def understand(configs):
    """How each config.json is understood: {"config" or "error", "notes"}."""
    with tempfile.TemporaryDirectory() as out:
        run(".", pathlib.Path(out), configs=list(configs))
        return json.loads((pathlib.Path(out) / "configs.json").read_text())


def run(model, folder, **request):
    (folder / "request.json").write_text(json.dumps(request))
    ran = subprocess.run([BUILD / "tests/model_probe", model, folder / "request.json", folder],
                         capture_output=True, text=True, timeout=1200)
    assert ran.returncode == 0, ran.stderr
