"""A registry mirror in the test's event loop: real sockets, the embedded origin behind it, no swarm."""

import asyncio
import json
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from benchmarks.io.image import Image, blob_path
from dfdaemon.config import DaemonConfig, MirrorConfig, OriginConfig, RegistryConfig
from dfdaemon.io.authorisation import Authoriser
from dfdaemon.io.origin_client import OriginClient
from dfdaemon.io.registry_proxy import RegistryProxy
from swarm.dice import Dice
from swarm.facts import Note
from tests.support.plain_blobs import PlainBlobs, PlainCluster

REGISTRY = "registry.test"
ANSWER_S = 20.0


class Registry(Protocol):
    """An origin that runs already."""

    @property
    def url(self) -> str:
        """Where it is."""


@dataclass(slots=True)
class Answer:
    """What a client got. `whole`: the body is as long as its Content-Length."""

    status: int
    headers: list[tuple[str, str]]
    body: bytes
    whole: bool = True

    def header(self, name: str) -> str | None:
        """The first header of this name."""
        return next((value for key, value in self.headers if key.lower() == name.lower()), None)

    def all(self, name: str) -> list[str]:
        """All headers of this name."""
        return [value for key, value in self.headers if key.lower() == name.lower()]

    @property
    def error(self) -> dict[str, Any]:
        """The first error of a registry's error document."""
        found: dict[str, Any] = json.loads(self.body)["errors"][0]
        return found


@dataclass(slots=True)
class Mirror:
    """A running mirror."""

    port: int
    proxy: RegistryProxy
    origin: OriginClient
    blobs: PlainBlobs
    cluster: PlainCluster
    authoriser: Authoriser
    notes: list[Note] = field(default_factory=list)

    async def ask(
        self, method: str, path: str, headers: Sequence[tuple[str, str]] = (), body: bytes = b""
    ) -> Answer:
        """One request on a connection of its own, headers as they are given."""
        return await ask(self.port, method, path, headers, body)

    async def get(self, path: str, *headers: tuple[str, str], registry: str = REGISTRY) -> Answer:
        """GET with the registry named as containerd does."""
        return await self.ask("GET", f"{path}?ns={registry}", headers)

    async def head(self, path: str, *headers: tuple[str, str]) -> Answer:
        """HEAD with the registry named as containerd does."""
        return await self.ask("HEAD", f"{path}?ns={REGISTRY}", headers)

    def noted(self, name: str) -> list[Note]:
        """The notes of this name."""
        return [note for note in self.notes if note.name == name]


async def ask(
    port: int, method: str, path: str, headers: Sequence[tuple[str, str]] = (), body: bytes = b""
) -> Answer:
    """Speak HTTP/1.1 without a library that would tidy the request up."""
    lines = [f"{method} {path} HTTP/1.1", "Host: mirror", "Connection: close"]
    lines += [f"{key}: {value}" for key, value in headers]
    if body:
        lines.append(f"Content-Length: {len(body)}")
    async with asyncio.timeout(ANSWER_S):
        reader, writer = await asyncio.open_connection("127.0.0.1", port, limit=1 << 20)
        writer.write("\r\n".join(lines).encode() + b"\r\n\r\n" + body)
        try:
            return parse_answer(method, await reader.read())
        finally:
            writer.close()
            await asyncio.gather(writer.wait_closed(), return_exceptions=True)


def parse_answer(method: str, raw: bytes) -> Answer:
    """Read an answer that the end of its connection ended."""
    head, _, body = raw.partition(b"\r\n\r\n")
    first, *lines = head.decode("latin-1").split("\r\n")
    pairs = [tuple(line.split(": ", 1)) for line in lines]
    answer = Answer(int(first.split()[1]), [(key, value) for key, value in pairs], body)
    if answer.header("Transfer-Encoding") == "chunked":
        answer.body, answer.whole = _unchunk(body)
    elif method != "HEAD" and answer.header("Content-Length") is not None:
        answer.whole = len(body) == int(answer.header("Content-Length") or 0)
    return answer


def _unchunk(raw: bytes) -> tuple[bytes, bool]:
    body = b""
    while raw:
        size, _, raw = raw.partition(b"\r\n")
        count = int(size, 16)
        if count == 0:
            return body, True
        body, raw = body + raw[:count], raw[count + 2 :]
    return body, False


def origin_config(
    origin: Registry,
    listing: Mapping[str, Any] = {},
    strangers: Mapping[str, str] = {},
    **settings: Any,
) -> OriginConfig:
    """A configuration in which REGISTRY is this origin; `listing`: more of its RegistryConfig.

    `strangers` are registries without trust, by name.
    """
    others = (RegistryConfig(name=name, url=url, trusted=False) for name, url in strangers.items())
    listed = (RegistryConfig(name=REGISTRY, url=origin.url, **listing), *others)
    defaults: dict[str, Any] = {"retries": 2, "connect_timeout_s": 2.0, "read_timeout_s": 2.0}
    return OriginConfig(registries=listed, **(defaults | settings))


@asynccontextmanager
async def running_mirror(
    origin: Registry,
    directory: Path,
    *,
    ring: bool = False,
    any_registry: bool = True,
    read_timeout_s: float = 2.0,
    listing: Mapping[str, Any] = {},
    strangers: Mapping[str, str] = {},
    **settings: Any,
) -> AsyncIterator[Mirror]:
    """A mirror of REGISTRY on a free port; `settings` are those of MirrorConfig, `listing` of RegistryConfig.

    Without `any_registry` it looks no other names up; `strangers` are registries without trust, by name.
    """
    asking = {"allow_any_registry": any_registry, "read_timeout_s": read_timeout_s}
    mirror = MirrorConfig(**({"listen": "127.0.0.1:0", "default_registry": REGISTRY} | settings))
    config = DaemonConfig(mirror=mirror, origin=origin_config(origin, listing, strangers, **asking))
    client = OriginClient(config.origin, Dice(1))
    cluster, blobs = PlainCluster(), PlainBlobs(client, directory, ring=ring)
    notes: list[Note] = []
    authoriser = Authoriser(mirror, client, cluster, notes.append)
    proxy = RegistryProxy(config, client, authoriser, blobs, cluster, notes.append)
    address = await proxy.start()
    try:
        yield Mirror(address.port, proxy, client, blobs, cluster, authoriser, notes)
    finally:
        await proxy.close(0)
        await authoriser.close()
        await blobs.close()
        await client.close()


def content_of(image: Image, digest: str) -> bytes:
    """The bytes of an image's blob or manifest."""
    return blob_path(image.directory, digest).read_bytes()
