"""Collects programs of build/bin with the shared libraries that they need into one folder that can stand anywhere.

    package_tree.py BUILD TREE PROGRAM...

TREE gets bin/ (the programs, stripped), lib/ (every library that is neither glibc's, the compiler's nor LibTorch's) and
licences/ (Debian's copyright file of each package that a library comes from). Each program looks for its libraries in lib/,
for LibTorch in lib/torch/lib (the archive) and in torch/lib beside the package (a virtualenv), by paths relative to itself.
"""

import pathlib
import re
import shutil
import subprocess
import sys

# Every host has these, of its own version: glibc's must match its loader, and the C++ library of a
# newer compiler must not be replaced by an older one.
OF_THE_HOST = re.compile(r"^(linux-vdso|ld-linux-x86-64|lib(c|m|dl|rt|pthread|resolv|util|gcc_s|stdc\+\+))\.so")
OF_LIBTORCH = re.compile(r"^lib(torch|c10|gomp|cudart|cupti)[^/]*\.so")
PROGRAM_PATHS = "$ORIGIN/../lib:$ORIGIN/../lib/torch/lib:$ORIGIN/../../torch/lib"


def run(*words) -> str:
    return subprocess.run([str(word) for word in words], check=True, capture_output=True, text=True).stdout


def needed(program: pathlib.Path) -> dict[str, pathlib.Path]:
    """Name -> file of every library that the loader would take, at any depth, for `program`."""
    found = {}
    for line in run("ldd", program).splitlines():
        match = re.match(r"\s*(\S+)(?: => (\S+))? \(0x|\s*(\S+) => (not found)", line)
        if match is None:
            continue
        name, path = match.group(1) or match.group(3), match.group(2) or match.group(4)
        base = pathlib.Path(name).name
        if OF_THE_HOST.match(base) or OF_LIBTORCH.match(base):
            continue
        if path is None or path == "not found":
            sys.exit(f"{program} needs {name}, which the loader does not find here; build it again: scripts/build")
        found[base] = pathlib.Path(path)
    return found


def copyright_file(library: pathlib.Path):
    """(package, its copyright file) of a library that dpkg knows, else None: one of ours."""
    for path in (library, library.resolve(), pathlib.Path("/usr") / library.relative_to("/")):
        answer = subprocess.run(["dpkg-query", "-S", str(path)], capture_output=True, text=True)
        if answer.returncode == 0:
            package = answer.stdout.split(":")[0]
            return package, pathlib.Path("/usr/share/doc") / package / "copyright"
    return None


def main():
    build, tree, programs = pathlib.Path(sys.argv[1]), pathlib.Path(sys.argv[2]), sys.argv[3:]
    for folder in ("bin", "lib", "licences"):
        (tree / folder).mkdir(parents=True)
    libraries = {}
    for name in programs:
        libraries |= needed(build / "bin" / name)
        target = tree / "bin" / name
        shutil.copy(build / "bin" / name, target)
        run("strip", target)
        run("patchelf", "--set-rpath", PROGRAM_PATHS, target)
    for name, path in sorted(libraries.items()):
        target = tree / "lib" / name
        shutil.copy(path.resolve(), target)
        run("strip", "--strip-unneeded", target)
        run("patchelf", "--set-rpath", "$ORIGIN", target)
        licence = copyright_file(path)
        if licence is not None and licence[1].exists():
            shutil.copy(licence[1], tree / "licences" / licence[0])
    print(f"{len(programs)} programs, {len(libraries)} libraries")


main()
