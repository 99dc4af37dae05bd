"""Counts the cases of the XML files that gtest and pytest write, and prints them.

    count_tests.py BUILD LOG...     LOG: ctest.log, and pytest-NAME.log of each pytest that was started

A C++ test program or a pytest that wrote no result (it crashed, hung or was killed) counts as one failure.
Skipped cases print their reason. The last line is `N passed, N failed, N skipped`.
"""

import pathlib
import re
import subprocess
import sys
import xml.etree.ElementTree as ElementTree


def xml_cases(path: pathlib.Path):
    for case in ElementTree.parse(path).iter("testcase"):
        name = f"{case.get('classname')}.{case.get('name')}"
        skipped, bad = case.find("skipped"), case.find("failure")
        bad = case.find("error") if bad is None else bad
        if bad is not None:
            yield name, "failed", bad.get("message", "")
        elif skipped is not None:
            yield name, "skipped", skipped.get("message", "")
        else:
            yield name, "passed", ""


def silent_programs(build: pathlib.Path):
    """Test programs known to ctest that left no result file."""
    listing = subprocess.run(
        ["ctest", "--test-dir", str(build), "-N"], capture_output=True, text=True, check=True
    ).stdout
    for name in re.findall(r"Test\s+#\d+: (\S+)", listing):
        if not (build / "results" / f"{name}.xml").exists():
            yield name, "failed", "wrote no result: it crashed, hung or was stopped"


def silent_pytests(build: pathlib.Path, logs: list[pathlib.Path]):
    for log in logs:
        if log.stem.startswith("pytest-") and not (build / "results" / f"{log.stem}.xml").exists():
            yield log.stem, "failed", "wrote no result: it crashed, hung or was stopped"


def main():
    build, *logs = map(pathlib.Path, sys.argv[1:])
    cases = [*silent_programs(build), *silent_pytests(build, logs)]
    for path in sorted((build / "results").glob("*.xml")):
        cases += xml_cases(path)
    by_outcome = {"passed": [], "failed": [], "skipped": []}
    for name, outcome, text in cases:
        by_outcome[outcome].append((name, text))
    if by_outcome["failed"]:
        for log in logs:
            if log.exists():
                print(f"---- {log}, last 200 lines")
                print("\n".join(log.read_text(errors="replace").splitlines()[-200:]))
    names_of_reason = {}
    for name, text in by_outcome["skipped"]:
        reason = text.strip().splitlines()[-1] if text.strip() else "no reason given"
        names_of_reason.setdefault(reason, []).append(name)
    for reason, names in names_of_reason.items():
        more = f" and {len(names) - 1} more" if len(names) > 1 else ""
        print(f"skipped {names[0]}{more}: {reason}")
    for name, text in by_outcome["failed"]:
        print(f"FAILED {name}: {text.strip()[:2000]}")
    counts = {outcome: len(of) for outcome, of in by_outcome.items()}
    print("{passed} passed, {failed} failed, {skipped} skipped".format(**counts))
    sys.exit(1 if counts["failed"] or not counts["passed"] else 0)


main()
