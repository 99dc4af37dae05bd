"""Packs the folder that package_tree.py made as a wheel.

    package_wheel.py TREE VERSION OUT

The programs lie in the package's folder; a script of each name on the PATH replaces itself by its program. The tag says
manylinux_2_36: Debian 12's glibc, the oldest that the programs start with.
"""

import pathlib
import shutil
import subprocess
import sys
import tempfile

LAUNCH = '''\
"""Replaces this process by the program of the script's name."""

import os
import pathlib
import sys


def main():
    name = pathlib.Path(sys.argv[0]).name
    program = pathlib.Path(__file__).resolve().parent / "bin" / name
    os.execv(program, [str(program), *sys.argv[1:]])
'''

METADATA = """\
Metadata-Version: 2.1
Name: trainyard
Version: {version}
Summary: A service that trains language models
Requires-Python: >=3.9
Requires-Dist: torch==2.11.0
Description-Content-Type: text/markdown

{readme}"""

WHEEL = """\
Wheel-Version: 1.0
Generator: trainyard scripts/package
Root-Is-Purelib: false
Tag: py3-none-manylinux_2_36_x86_64
"""


def main():
    tree, version, out = pathlib.Path(sys.argv[1]), sys.argv[2], pathlib.Path(sys.argv[3])
    with tempfile.TemporaryDirectory(dir=out) as work:
        root = pathlib.Path(work)
        package, info = root / "trainyard", root / f"trainyard-{version}.dist-info"
        shutil.copytree(tree, package)
        info.mkdir()
        (package / "__init__.py").write_text(f'__version__ = "{version}"\n')
        (package / "launch.py").write_text(LAUNCH)
        (info / "WHEEL").write_text(WHEEL)
        (info / "METADATA").write_text(METADATA.format(version=version, readme=pathlib.Path("README.md").read_text()))
        scripts = "".join(f"{program.name} = trainyard.launch:main\n" for program in sorted((package / "bin").iterdir()))
        (info / "entry_points.txt").write_text("[console_scripts]\n" + scripts)
        subprocess.run([sys.executable, "-m", "wheel", "pack", str(root), "--dest-dir", str(out)], check=True)


main()
