"""Real daemons that speak TLS with each other: the swarm works as without, also while it is introduced."""

from pathlib import Path
from typing import Any

import pytest

from benchmarks.io.image import Image
from benchmarks.io.origin_registry import OriginRegistry
from tests.support.background import in_background
from tests.support.cluster import Cluster, pull
from tests.support.peers import tls_settings

ROLL_OUT = [  # all of them: tests/unit/dfdaemon/io/test_peer_tls.py
    ("off", "off", "accept", "accept"),
    ("prefer", "prefer", "require", "require"),
]


@pytest.mark.parametrize("modes", ROLL_OUT, ids=lambda modes: "-".join(dict.fromkeys(modes)))
def test_each_step_of_a_roll_out_leaves_one_cluster(
    folder: Path, image: Image, modes: tuple[str, ...]
) -> None:
    files = tls_settings(folder)
    with in_background(OriginRegistry([image])) as origin, Cluster(folder, origin.url) as cluster:
        settings: list[dict[str, Any]] = [{"peer": files | {"tls": mode}} for mode in modes]
        daemons = [
            cluster.daemons(f"n{number}", settings=each)[0] for number, each in enumerate(settings, start=1)
        ]
        pull(image, *daemons)
        assert origin.counters.total_blob_bytes == image.total_bytes
        for daemon in daemons:
            assert daemon.metric("events_total", event="child_refused") == 0
