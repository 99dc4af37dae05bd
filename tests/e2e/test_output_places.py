"""What is written where the user said: a device, a pipe or a link stays what it is, and what does not fit is said."""

import os
import stat
import subprocess
import threading

import pytest

from cluster import BIN


@pytest.fixture(scope="module")
def yard(tmp_path_factory):
    from cluster import Cluster
    with Cluster(tmp_path_factory.mktemp("places") / "home", workers=1) as running:
        running.job_id = running.submit(running.write_job(steps=2, ranks=1, save_steps=0))
        running.wait_for_success(running.job_id)
        yield running


def files(yard, out):
    """The commands that make a file at `out`."""
    return {"metrics": ["metrics", "export", yard.job_id, "--csv", out],
            "tokenizer": ["tokenizer", "train", yard.sample_text(), "--vocab-size", "300", "--out", out]}


def new_things(yard, out):
    """Those that make what does not exist yet: whatever stands there is left alone."""
    model = f"job:{yard.job_id}@latest"
    return {"checkpoint": ["checkpoint", "export", yard.job_id, "--to", out],
            "import": ["model", "import", model, out],
            "hf": ["model", "export", model, out, "--format", "hf"],
            "gguf": ["model", "export", model, out, "--format", "gguf"]}


def test_a_regular_file_is_replaced_whole_and_nothing_else_is_left(yard, tmp_path):
    for name, words in files(yard, tmp_path / "out").items():
        (tmp_path / "out").write_text("before")
        os.chmod(tmp_path / "out", 0o640)
        yard.run(*words)
        assert (tmp_path / "out").stat().st_size > 10 and stat.S_IMODE((tmp_path / "out").stat().st_mode) == 0o640
        assert os.listdir(tmp_path) == ["out"], name


def test_a_link_is_followed_also_one_whose_target_is_not_there_yet(yard, tmp_path):
    for name, words in files(yard, tmp_path / "link").items():
        for before in (None, "x" * 100_000):
            (tmp_path / "link").symlink_to(f"target-{name}-{before is None}")
            if before:
                (tmp_path / "link").resolve().write_text(before)
            yard.run(*words)
            assert (tmp_path / "link").is_symlink() and (tmp_path / "link").read_text()[-1] in "\n}"
            (tmp_path / "link").unlink()


def test_a_pipe_is_written_into(yard, tmp_path):
    for name, words in files(yard, tmp_path / "pipe").items():
        os.mkfifo(tmp_path / "pipe")
        got = []
        reader = threading.Thread(target=lambda: got.append((tmp_path / "pipe").read_text()))
        reader.start()
        yard.run(*words)
        reader.join(30)
        assert got and len(got[0]) > 10 and stat.S_ISFIFO((tmp_path / "pipe").lstat().st_mode), name
        (tmp_path / "pipe").unlink()


def test_a_device_stays_one_and_a_full_one_is_an_error(yard, tmp_path):
    try:
        os.mknod(tmp_path / "null", 0o600 | stat.S_IFCHR, os.makedev(1, 3))
        os.mknod(tmp_path / "full", 0o600 | stat.S_IFCHR, os.makedev(1, 7))
        os.close(os.open(tmp_path / "null", os.O_WRONLY))
    except OSError as error:
        pytest.skip(f"device nodes may not be made or opened here: {error}")
    for device, code in (("null", 0), ("full", 5)):
        for name, words in files(yard, tmp_path / device).items():
            done = yard.run(*words, check=False)
            assert done.returncode == code, (name, done.stderr)
            assert code == 0 or "No space left on device" in done.stderr
            assert stat.S_ISCHR((tmp_path / device).lstat().st_mode), name


def test_what_makes_a_folder_or_model_leaves_alone_what_stands_there(yard, tmp_path):
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "file").write_text("mine")
    (tmp_path / "nowhere").symlink_to("not-there")
    before = sorted(os.listdir(tmp_path))
    for place in before:
        mode = (tmp_path / place).lstat().st_mode
        for name, words in new_things(yard, tmp_path / place).items():
            done = yard.run(*words, check=False)
            assert done.returncode == 6 and "exists" in done.stderr, (name, place, done)
        assert (tmp_path / place).lstat().st_mode == mode and sorted(os.listdir(tmp_path)) == before
    (tmp_path / "empty").mkdir()
    (tmp_path / "link").symlink_to("empty")
    yard.run(*new_things(yard, tmp_path / "link")["hf"])
    assert (tmp_path / "link").is_symlink() and (tmp_path / "empty" / "config.json").exists()


def test_every_command_that_prints_says_so_when_it_does_not_arrive(yard):
    job = yard.job_id
    printing = [["list"], ["list", "-o", "json"], ["get", job], ["describe", job], ["events", job], ["explain", job],
                ["logs", job], ["worker", "list"], ["checkpoint", "list", job], ["checkpoint", "describe", job],
                ["checkpoint", "verify", job], ["metrics", "export", job, "--csv", "-"],
                ["metrics", "export", job, "--csv", "/dev/stdout"], ["data", "check", yard.sample_text()],
                ["model", "inspect", f"job:{job}@latest"], ["completion", "bash"], ["--help"], ["--version"],
                ["generate", "--model", f"job:{job}@latest", "--prompt", "the", "--max-new-tokens", "2"]]
    for words in printing:
        with open("/dev/full", "w") as full:
            done = subprocess.run([BIN / "trainyard", *map(str, words)], env=yard.environment, stdout=full,
                                  stderr=subprocess.PIPE, text=True, timeout=60)
        assert done.returncode == 5 and "error:" in done.stderr, (words, done)
        assert "No space left" in done.stderr or "is the disk full" in done.stderr
