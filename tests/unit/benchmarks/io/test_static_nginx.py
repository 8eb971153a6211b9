"""nginx as the benchmarks run it."""

from pathlib import Path

import aiohttp
import pytest

from benchmarks.io.static_nginx import Nginx

pytestmark = pytest.mark.needs("nginx-light", "openssl")


async def test_it_serves_a_folder_plain_and_over_tls_and_ends(tmp_path: Path) -> None:
    folder, root = tmp_path / "nginx", tmp_path / "root"
    folder.mkdir()
    root.mkdir()
    (root / "file").write_bytes(b"content")
    nginx = await Nginx.start(folder, root)
    try:
        async with aiohttp.ClientSession() as session:
            async with session.get(f"http://{nginx.plain}/file") as answer:
                assert await answer.read() == b"content"
            async with session.get(f"https://{nginx.tls}/file", ssl=False) as answer:
                assert await answer.read() == b"content"
        assert nginx.worker != nginx.process.pid
        assert Path(f"/proc/{nginx.worker}").exists()
    finally:
        await nginx.stop()
    assert not Path(f"/proc/{nginx.worker}").exists()
