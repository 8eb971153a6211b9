"""Pulls an image through a mirror as containerd does: HEAD the tag, GET the manifest, three blobs at a time,
all checked."""

import asyncio
import hashlib
import json
import time
from dataclasses import dataclass, field
from typing import Any

import aiohttp

BLOBS_AT_ONCE = 3
CHUNK_BYTES = 256 * 1024
READ_TIMEOUT_S = 60.0
ACCEPT = (
    "application/vnd.docker.distribution.manifest.v2+json, "
    "application/vnd.docker.distribution.manifest.list.v2+json, "
    "application/vnd.oci.image.manifest.v1+json, "
    "application/vnd.oci.image.index.v1+json, */*"
)
"""What containerd sends."""


class PullFailed(Exception):
    """An answer was not 200, a body was too short, or a digest is wrong."""


@dataclass(slots=True)
class Pull:
    """One pull and how far it is. `seconds` is set at its end; `digests` are those that were checked."""

    mirror: str
    registry: str
    repository: str
    tag: str
    received_bytes: int = 0
    total_bytes: int = 0
    seconds: float = 0.0
    first_byte_s: float = 0.0
    digests: list[str] = field(default_factory=list)

    async def run(self) -> None:
        """Pull everything; raises PullFailed."""
        began = time.monotonic()
        timeout = aiohttp.ClientTimeout(total=None, sock_read=READ_TIMEOUT_S)
        async with aiohttp.ClientSession(
            f"http://{self.mirror}", timeout=timeout, auto_decompress=False
        ) as session:
            manifest = await self._manifest(session, await self._resolve(session))
            while "manifests" in manifest:
                manifest = await self._manifest(session, manifest["manifests"][0]["digest"])
            parts = [manifest["config"], *manifest["layers"]]
            self.total_bytes = sum(part["size"] for part in parts)
            slots = asyncio.Semaphore(BLOBS_AT_ONCE)
            async with asyncio.TaskGroup() as group:
                for part in parts:
                    group.create_task(self._blob(session, part["digest"], slots, began))
        self.seconds = time.monotonic() - began

    async def _resolve(self, session: aiohttp.ClientSession) -> str:
        path = f"/v2/{self.repository}/manifests/{self.tag}"
        async with session.head(path, params={"ns": self.registry}, headers={"Accept": ACCEPT}) as answer:
            _expect(answer)
            return answer.headers["Docker-Content-Digest"]

    async def _manifest(self, session: aiohttp.ClientSession, digest: str) -> dict[str, Any]:
        path = f"/v2/{self.repository}/manifests/{digest}"
        async with session.get(path, params={"ns": self.registry}, headers={"Accept": ACCEPT}) as answer:
            _expect(answer)
            body = await answer.read()
        self._check(digest, hashlib.sha256(body).hexdigest())
        found: dict[str, Any] = json.loads(body)
        return found

    async def _blob(
        self, session: aiohttp.ClientSession, digest: str, slots: asyncio.Semaphore, began: float
    ) -> None:
        hasher = hashlib.sha256()
        path = f"/v2/{self.repository}/blobs/{digest}"
        async with slots, session.get(path, params={"ns": self.registry}) as answer:
            _expect(answer)
            async for chunk in answer.content.iter_chunked(CHUNK_BYTES):
                self.first_byte_s = self.first_byte_s or time.monotonic() - began
                hasher.update(chunk)
                self.received_bytes += len(chunk)
        self._check(digest, hasher.hexdigest())

    def _check(self, digest: str, actual: str) -> None:
        if digest != f"sha256:{actual}":
            raise PullFailed(f"{self.mirror} sent sha256:{actual} in place of {digest}")
        self.digests.append(digest)


def _expect(answer: aiohttp.ClientResponse) -> None:
    if answer.status != 200:
        raise PullFailed(f"{answer.method} {answer.url.path} was answered {answer.status}")
