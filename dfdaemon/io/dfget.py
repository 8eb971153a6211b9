"""dfget: pull an image or a blob through the daemon of this machine, and say where its bytes came from."""

import argparse
import asyncio
import base64
import contextlib
import platform
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, BinaryIO

from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TransferSpeedColumn
from rich.table import Table

from dfdaemon.config import DaemonConfig
from dfdaemon.io.local_client import LocalDaemon, LocalError
from dfdaemon.io.sizes import human_bytes
from dfdaemon.reference import Reference, parse_reference
from swarm.digest import Digest
from swarm.errors import DamselflyError

BLOBS_AT_ONCE = 3
"""As many as containerd fetches."""
_ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64", "armv7l": "arm"}
EXIT_FAILED, EXIT_USAGE = 1, 2


@dataclass(frozen=True, slots=True)
class Blob:
    """One blob of a pull; its size is -1 where only its address is known."""

    reference: Reference
    size: int
    kind: str


def main(argv: list[str] | None = None) -> None:
    """Run dfget; exits 1 when the pull failed, 2 when the command line is wrong."""
    arguments = _arguments(argv)
    console, errors = Console(soft_wrap=not sys.stdout.isatty()), Console(soft_wrap=True, stderr=True)
    try:
        reference = parse_reference(arguments.reference)
        authorization = _authorization(arguments)
        _check_output(arguments.output)
    except DamselflyError as error:
        errors.print(f"dfget: {error}", highlight=False, markup=False)
        sys.exit(EXIT_USAGE)
    try:
        asyncio.run(_pull(reference, authorization, arguments, console))
    except (DamselflyError, OSError) as error:
        errors.print(f"dfget: {error}", highlight=False, markup=False)
        sys.exit(EXIT_FAILED)
    except KeyboardInterrupt:
        sys.exit(130)


def _arguments(argv: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="dfget", description=__doc__)
    parser.add_argument(
        "reference",
        help="image such as docker.io/library/busybox:1.36, or https://registry/v2/…/blobs/sha256:…",
    )
    parser.add_argument(
        "--socket", default=DaemonConfig().control_socket, help="the daemon's control socket (%(default)s)"
    )
    parser.add_argument("--platform", default="", help="os/architecture of an index to pull (this machine's)")
    parser.add_argument("--output", "-o", default="", metavar="FILE", help="write a single blob to a file")
    parser.add_argument("--user", default="", help="user name at the registry")
    parser.add_argument("--password-stdin", action="store_true", help="read the password from standard input")
    return parser.parse_args(argv)


def _authorization(arguments: argparse.Namespace) -> str | None:
    if not arguments.user:
        return None
    if not arguments.password_stdin:
        raise LocalError("--user needs --password-stdin: a password on the command line is seen by everybody")
    password = sys.stdin.readline().rstrip("\n")
    return "Basic " + base64.b64encode(f"{arguments.user}:{password}".encode()).decode()


def _check_output(output: str) -> None:
    path = Path(output)
    if output and (path.is_dir() or not path.parent.is_dir()):
        raise LocalError(f"--output {output} cannot be written: name a file in a folder that is there")


async def _pull(
    reference: Reference, authorization: str | None, arguments: argparse.Namespace, console: Console
) -> None:
    """Resolve, fetch everything and check it, and print the table."""
    began = time.monotonic()
    async with LocalDaemon(arguments.socket, authorization) as daemon:
        if reference.blob:
            blobs = [Blob(reference, -1, "blob")]
        elif arguments.output:
            raise LocalError("--output writes a single blob; for an image, name the blob by its URL")
        else:
            blobs = await _resolve(daemon, reference, arguments.platform or _platform())
        with _progress(console) as progress:
            await _fetch_all(daemon, blobs, progress, arguments.output)
        seconds = time.monotonic() - began
        accounts = [await daemon.control(f"explain/{blob.reference.digest}") for blob in blobs]
    console.print(sources_table(blobs, accounts))
    total = sum(account["size"] for account in accounts)
    took = f"{len(blobs)} blobs, {human_bytes(total)} in {seconds:.1f} s"
    console.print(f"{reference}: {took}, every digest verified", markup=False)


def _platform() -> str:
    machine = platform.machine()
    return f"linux/{_ARCHITECTURES.get(machine, machine)}"


async def _resolve(daemon: LocalDaemon, reference: Reference, wanted: str) -> list[Blob]:
    """Return the manifest, the configuration and the layers of an image for one platform."""
    digest, manifest = await daemon.manifest(reference)
    if "manifests" in manifest:
        digest = _choose(manifest["manifests"], wanted, reference)
        _, manifest = await daemon.manifest(replace(reference, digest=digest))
    if "layers" not in manifest:
        raise LocalError(f"{reference} is not an image: its manifest lists no layers")
    parts = [(manifest["config"], "config"), *((layer, "layer") for layer in manifest["layers"])]
    return [
        Blob(
            replace(reference, tag="", digest=Digest.parse(part["digest"]), blob=True),
            int(part["size"]),
            kind,
        )
        for part, kind in parts
    ]


def _choose(manifests: list[dict[str, Any]], wanted: str, reference: Reference) -> Digest:
    offered = {
        f"{entry['platform']['os']}/{entry['platform']['architecture']}": entry["digest"]
        for entry in reversed(manifests)
        if "platform" in entry
    }
    if wanted not in offered:
        raise LocalError(
            f"{reference} has no image for {wanted}: it offers {', '.join(sorted(offered)) or 'none'}"
        )
    return Digest.parse(offered[wanted])


@contextlib.contextmanager
def _progress(console: Console) -> Iterator[Progress]:
    columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn(True), TransferSpeedColumn())
    with Progress(*columns, console=console, refresh_per_second=5) as progress:
        yield progress


async def _fetch_all(daemon: LocalDaemon, blobs: list[Blob], progress: Progress, output: str) -> None:
    """Read all blobs, some at once; raises what the first failure is, by itself, and ends the others."""
    slots = asyncio.Semaphore(BLOBS_AT_ONCE)
    try:
        async with asyncio.TaskGroup() as group:
            for blob in blobs:
                group.create_task(_fetch(daemon, blob, progress, slots, output))
    except ExceptionGroup as failures:
        raise failures.exceptions[0] from None


async def _fetch(
    daemon: LocalDaemon, blob: Blob, progress: Progress, slots: asyncio.Semaphore, output: str
) -> None:
    """Read one blob to its end and check its digest."""
    digest = blob.reference.digest
    assert digest is not None, "blobs are named by their digest"
    bar = progress.add_task(f"{blob.kind} {digest.hex[:12]}", total=blob.size if blob.size >= 0 else None)
    hasher = digest.hasher()
    async with slots:
        with _target(output) as file:
            async for chunk in daemon.read(blob.reference):
                hasher.update(chunk)
                file.write(chunk)
                progress.advance(bar, len(chunk))
            if hasher.hexdigest() != digest.hex:
                raise LocalError(f"{digest} arrived with other content: nothing of it may be used")


@contextlib.contextmanager
def _target(output: str) -> Iterator[BinaryIO]:
    """Write to a file beside the wanted one, which appears only when the block ends well, and else is gone."""
    path = Path(output or "/dev/null")
    if not output:
        with path.open("wb") as sink:
            yield sink
        return
    part = path.with_name(path.name + ".part")
    try:
        with part.open("wb") as sink:
            yield sink
        part.rename(path)
    except BaseException:
        part.unlink(missing_ok=True)
        raise


def sources_table(blobs: list[Blob], accounts: list[dict[str, Any]]) -> Table:
    """Return the table of where each blob's bytes came from."""
    table = Table("blob", "bytes", "origin", "peers", "scheduler", "disk", "seconds", box=None)
    for blob, account in zip(blobs, accounts, strict=True):
        peers = sum(account.get("peer_bytes", {}).values())
        on_disk = (
            account["size"] if not account.get("first_piece_at") and not account.get("inline_bytes") else 0
        )
        table.add_row(
            f"{blob.kind} {str(blob.reference.digest)[:19]}",
            human_bytes(account["size"]),
            human_bytes(account.get("origin_bytes", 0)),
            human_bytes(peers),
            human_bytes(account.get("inline_bytes", 0)),
            human_bytes(on_disk),
            f"{account.get('seconds', 0.0):.2f}",
        )
    return table
