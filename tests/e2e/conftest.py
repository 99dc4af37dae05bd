import pathlib
import sys

import pytest

sys.path.insert(0, str(pathlib.Path(__file__).parent))

from cluster import Cluster, shared_memory_names, wait_for  # noqa: E402


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item, call):
    """Remembers how the test went, for the fixture's teardown."""
    outcome = yield
    setattr(item, "report_" + outcome.get_result().when, outcome.get_result())


@pytest.fixture
def cluster(tmp_path, request):
    """A cluster of two workers; after a test that passed nothing of it may be left."""
    before = shared_memory_names()
    with Cluster(tmp_path / "home") as running:
        yield running
        report = getattr(request.node, "report_call", None)
        passed = report is not None and report.passed
        if passed:
            running.note_places()
        elif report is not None and report.failed:
            print(running.describe_logs())
    wait_for("no process of the cluster is left", lambda: not running.all_processes(), 15)
    assert shared_memory_names() <= before
    if passed:
        assert not running.leftovers()
