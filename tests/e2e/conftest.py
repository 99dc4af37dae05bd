import pathlib
import sys

import pytest

sys.path.insert(0, str(pathlib.Path(__file__).parent))

from cluster import Cluster, shared_memory_names, wait_for  # noqa: E402


@pytest.fixture
def cluster(tmp_path):
    """A cluster of two workers; after the test nothing of it may be left."""
    before = shared_memory_names()
    with Cluster(tmp_path / "home") as running:
        yield running
    wait_for("no process of the cluster is left", lambda: not running.all_processes(), 15)
    assert shared_memory_names() == before
