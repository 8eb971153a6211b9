"""Plain sockets in a random tree."""

from pathlib import Path

import pytest

from benchmarks.io.fanout_limit import FAN_OUT, machine_limit, random_tree


@pytest.mark.parametrize("nodes", [1, 2, 50, 1000])
def test_a_tree_has_one_root_earlier_parents_and_few_children(nodes: int) -> None:
    parents = random_tree(nodes, seed=3)
    assert parents[0] == -1
    assert all(0 <= parent < node for node, parent in enumerate(parents) if node)
    assert max(parents.count(node) for node in range(nodes)) <= FAN_OUT
    assert random_tree(nodes, seed=3) == parents


async def test_every_node_gets_every_byte(tmp_path: Path) -> None:
    blob = tmp_path / "blob"
    blob.write_bytes(bytes(range(256)) * 12_345)
    limit = await machine_limit(tmp_path, blob, nodes=7, seed=1, processes=2)
    assert limit.wall_s > 0
    assert limit.cpu_s > 0
    for node in range(1, 8):
        assert (tmp_path / f"limit-{node}" / "data").read_bytes() == blob.read_bytes()
