"""A real registry and a real containerd, as processes of a cluster."""

import pytest

from benchmarks.io.image import generate_image
from benchmarks.io.local_cluster import ProcessFailed, local_cluster
from benchmarks.io.real_parts import Containerd, PartsMissing, require_parts, start_registry
from tests.support.processes import free_port, short_directory


def test_what_is_missing_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    with pytest.raises(PartsMissing, match="docker-registry, containerd;"):
        require_parts()


@pytest.mark.needs("containerd", "docker-registry", root=True)
async def test_an_image_is_pulled_as_often_as_asked_and_an_unknown_one_fails() -> None:
    with short_directory() as folder:
        image = generate_image(folder / "image", "bench/app", "v1", [100_000])
        unknown = generate_image(folder / "other", "bench/other", "v1", [100_000])
        async with local_cluster(folder) as cluster:
            registry = f"127.0.0.1:{free_port()}"
            await start_registry(cluster, folder / "r", [image], registry)
            containerd = await Containerd.start(cluster, folder / "c")
            for _ in range(2):
                assert await containerd.pull(image, registry, None) > 0
            with pytest.raises(ProcessFailed, match="not found"):
                await containerd.pull(unknown, registry, None)
