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
    """A cluster of two workers; after the test nothing of it may be left."""
    before = shared_memory_names()
    with Cluster(tmp_path / "home") as running:
        yield running
        if getattr(request.node, "report_call", None) is not None and request.node.report_call.failed:
            print(running.describe_logs())
    wait_for("no process of the cluster is left", lambda: not running.all_processes(), 15)
    assert shared_memory_names() == before
