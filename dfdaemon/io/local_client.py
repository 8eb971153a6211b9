"""How dfget and dfctl speak to the daemon of this machine, over its control socket."""

import json
from collections.abc import AsyncIterator
from typing import Any

import aiohttp

from dfdaemon.reference import Reference
from swarm.digest import Digest
from swarm.errors import DamselflyError

CONNECT_TIMEOUT_S = 5.0
READ_TIMEOUT_S = 300.0
"""As long as containerd waits for the next byte of a pull."""
MANIFEST_BYTES_MAX = 4 << 20
"""What the OCI distribution specification lets registries limit manifests to."""
ACCEPT = (
    "application/vnd.oci.image.index.v1+json",
    "application/vnd.oci.image.manifest.v1+json",
    "application/vnd.docker.distribution.manifest.list.v2+json",
    "application/vnd.docker.distribution.manifest.v2+json",
)
CHUNK_BYTES = 256 * 1024


class LocalError(DamselflyError):
    """The daemon of this machine cannot be asked, or answered with an error; the text says what to do."""


class LocalDaemon:
    """A connection to the daemon's control socket. Use as an asynchronous context manager."""

    def __init__(self, socket_path: str, authorization: str | None = None) -> None:
        self._path = socket_path
        self._headers = {"Authorization": authorization} if authorization else {}

    async def __aenter__(self) -> "LocalDaemon":
        timeout = aiohttp.ClientTimeout(total=None, sock_connect=CONNECT_TIMEOUT_S, sock_read=READ_TIMEOUT_S)
        connector = aiohttp.UnixConnector(self._path, limit=16)
        self._session = aiohttp.ClientSession(
            "http://damselfly", connector=connector, timeout=timeout, auto_decompress=False
        )
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._session.close()

    async def control(self, path: str, order: dict[str, str] | None = None) -> dict[str, Any]:
        """Ask one of the daemon's own paths, or give it an order; raises LocalError."""
        method = "GET" if order is None else "POST"
        try:
            async with self._session.request(method, f"/control/{path}", params=order) as answer:
                found: dict[str, Any] = await answer.json()
        except (aiohttp.ClientError, OSError, ValueError) as error:
            raise self._unreachable(error) from error
        if "error" in found:
            raise LocalError(found["error"])
        return found

    async def manifest(self, reference: Reference) -> tuple[Digest, dict[str, Any]]:
        """Fetch a manifest or index and check its digest; raises LocalError."""
        body = bytearray()
        async for chunk in self.read(reference):
            body += chunk
            if len(body) > MANIFEST_BYTES_MAX:
                raise LocalError(f"the manifest of {reference} is larger than {MANIFEST_BYTES_MAX} bytes")
        algorithm = reference.digest.algorithm if reference.digest else "sha256"
        digest = Digest.of(bytes(body), algorithm)
        if reference.digest not in (None, digest):
            raise LocalError(f"the manifest of {reference} has another digest: {digest}")
        try:
            return digest, json.loads(body)
        except ValueError as error:
            raise LocalError(f"the manifest of {reference} is not JSON") from error

    async def read(self, reference: Reference) -> AsyncIterator[bytes]:
        """Yield the bytes of a manifest or blob; raises LocalError, also when the body ends early."""
        headers = [*self._headers.items(), *(("Accept", media_type) for media_type in ACCEPT)]
        try:
            request = self._session.get(reference.path, params={"ns": reference.registry}, headers=headers)
            async with request as answer:
                if answer.status != 200:
                    raise LocalError(await _explain(answer, reference))
                async for chunk in answer.content.iter_chunked(CHUNK_BYTES):
                    yield chunk
        except aiohttp.ClientPayloadError as error:
            raise LocalError(
                f"{reference.path} ended early: the daemon's log and dfctl explain say why"
            ) from error
        except (aiohttp.ClientError, OSError, TimeoutError) as error:
            raise self._unreachable(error) from error

    def _unreachable(self, error: Exception) -> LocalError:
        return LocalError(
            f"no daemon answers at {self._path} ({error}): is dfdaemon running? --socket names another"
        )


async def _explain(answer: aiohttp.ClientResponse, reference: Reference) -> str:
    """Return one sentence for an error answer of the mirror."""
    body = (await answer.content.read(64 * 1024)).decode(errors="replace")
    try:
        found = json.loads(body)["errors"][0]
        reason = "; ".join(str(found[key]) for key in ("message", "detail") if found.get(key))
    except (ValueError, LookupError, TypeError):
        reason = ""
    if answer.status == 401:
        reason = f"{reason} (dfget logs in with --user and --password-stdin; dfctl explain takes a digest, too)".strip()
    return f"{reference} could not be pulled: status {answer.status}{': ' if reason else ''}{reason}"
