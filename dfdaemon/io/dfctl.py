"""dfctl: ask the daemon of this machine what it holds, from whom it came, and how fast; let it, or the whole cluster,
forget content; keep content from everybody.
"""

import argparse
import asyncio
import json
import sys
import time
from typing import Any

from rich.console import Console

from dfdaemon.config import DaemonConfig
from dfdaemon.io.local_client import LocalDaemon, LocalError
from dfdaemon.io.scheduler_admin import ask
from dfdaemon.io.sizes import human_bytes
from dfdaemon.reference import Reference, parse_reference
from swarm.digest import Digest
from swarm.errors import DamselflyError
from swarm.version import VERSION

EXIT_FAILED, EXIT_USAGE = 1, 2
SCHEDULER = "127.0.0.1:4011"
"""metrics_listen of a scheduler on this machine."""


def main(argv: list[str] | None = None) -> None:
    """Run dfctl; exits 1 when the daemon cannot answer, 2 when the command line is wrong."""
    arguments = _arguments(argv)
    console, errors = Console(soft_wrap=True), Console(soft_wrap=True, stderr=True)
    try:
        _check(arguments)
    except DamselflyError as error:
        errors.print(f"dfctl: {error}", highlight=False, markup=False)
        sys.exit(EXIT_USAGE)
    try:
        asyncio.run(_run(arguments, console))
    except DamselflyError as error:
        errors.print(f"dfctl: {error}", highlight=False, markup=False)
        sys.exit(EXIT_FAILED)
    except KeyboardInterrupt:
        sys.exit(130)


def _arguments(argv: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="dfctl", description=__doc__)
    parser.add_argument(
        "--socket", default=DaemonConfig().control_socket, help="the daemon's control socket (%(default)s)"
    )
    parser.add_argument("--json", action="store_true", help="print what the daemon said as JSON")
    parser.add_argument("--version", action="version", version=VERSION)
    verbs = parser.add_subparsers(dest="verb", required=True)
    verbs.add_parser("status", help="what the daemon holds and is doing")
    explain = verbs.add_parser("explain", help="from whom a blob or an image came, and how fast")
    explain.add_argument("what", help="a digest, or an image such as docker.io/library/busybox:1.36")
    purge = verbs.add_parser(
        "purge", help="forget a blob's copy, or what a tag meant, so that it is asked for anew"
    )
    purge.add_argument("what", help="a digest, or an image with its tag")
    purge.add_argument("--cluster", action="store_true", help="on all hosts, by the scheduler")
    deny = verbs.add_parser("deny", help="let no host of the cluster have a digest, or serve it")
    deny.add_argument("digest")
    deny.add_argument("--reason", default="", help="what others shall read about it")
    verbs.add_parser("allow", help="end a denial").add_argument("digest")
    denials = verbs.add_parser("denials", help="show what is denied, and why")
    for verb in verbs.choices.values():
        verb.add_argument("--socket", default=argparse.SUPPRESS, help=argparse.SUPPRESS)
        verb.add_argument("--json", action="store_true", default=argparse.SUPPRESS, help=argparse.SUPPRESS)
    for verb in (purge, deny, verbs.choices["allow"], denials):
        verb.add_argument(
            "--scheduler", default=SCHEDULER, metavar="HOST:PORT", help="its metrics address (%(default)s)"
        )
        verb.add_argument("--token-file", default="", help="the scheduler's admin token")
    return parser.parse_args(argv)


def _check(arguments: argparse.Namespace) -> None:
    """Raise BadDigest or BadName for what names nothing, before anybody is asked."""
    if arguments.verb in ("explain", "purge"):
        _what(arguments.what)
    elif arguments.verb in ("deny", "allow"):
        Digest.parse(arguments.digest)


async def _run(arguments: argparse.Namespace, console: Console) -> None:
    if arguments.verb in ("deny", "allow", "denials") or getattr(arguments, "cluster", False):
        found: Any = await _administer(arguments)
    else:
        async with LocalDaemon(arguments.socket) as daemon:
            if arguments.verb == "status":
                found = await daemon.control("status")
            elif arguments.verb == "purge":
                found = await daemon.control("purge", _what(arguments.what))
            else:
                found = await _explain(daemon, arguments.what)
    if arguments.json:
        console.print_json(json.dumps(found))
    elif arguments.verb in ("purge", "deny", "allow", "denials"):
        _print_done(arguments, found, console)
    elif arguments.verb == "status":
        _print_status(found, console)
    else:
        for account in found:
            _print_account(account, console)


async def _administer(arguments: argparse.Namespace) -> dict[str, Any]:
    """Ask the scheduler to do something for all hosts."""
    document: dict[str, str] | None = None
    if arguments.verb == "purge":
        document = _what(arguments.what)
    elif arguments.verb != "denials":
        document = {"digest": str(Digest.parse(arguments.digest))}
    if arguments.verb == "deny" and document is not None:
        document["reason"] = arguments.reason
    return await ask(arguments.scheduler, arguments.token_file, arguments.verb, document)


def _what(text: str) -> dict[str, str]:
    """Return the digest or the tag that a text names."""
    if text.startswith(("sha256:", "sha512:")):
        return {"digest": str(Digest.parse(text))}
    reference = parse_reference(text)
    if reference.digest is not None:
        return {"digest": str(reference.digest)}
    return {"registry": reference.registry, "repository": reference.repository, "tag": reference.tag}


def _print_done(arguments: argparse.Namespace, found: dict[str, Any], console: Console) -> None:
    if arguments.verb == "denials":
        lines = [f"{digest}  {reason}" for digest, reason in found["denied"].items()] or ["nothing is denied"]
    elif arguments.verb == "purge" and not arguments.cluster:
        freed = f", {human_bytes(found['bytes'])} freed" if found["bytes"] else ""
        lines = [f"{arguments.what} is forgotten here{freed}"]
    else:
        lines = ["1 host was told" if found["hosts"] == 1 else f"{found['hosts']} hosts were told"]
    if found.get("kept") is False:
        lines.append(found.get("warning") or "the scheduler keeps it until it ends: set denials_file there")
    console.print(*lines, sep="\n", highlight=False, markup=False)


async def _explain(daemon: LocalDaemon, what: str) -> list[dict[str, Any]]:
    """Explain one digest, or every blob of an image that this daemon knows."""
    if what.startswith(("sha256:", "sha512:")):
        return [await daemon.control(f"explain/{Digest.parse(what)}")]
    accounts = []
    for digest in await _digests(daemon, parse_reference(what)):
        try:
            accounts.append(await daemon.control(f"explain/{digest}"))
        except LocalError as error:
            accounts.append({"digest": digest, "state": "unknown", "note": str(error)})
    return accounts


async def _digests(daemon: LocalDaemon, reference: Reference) -> list[str]:
    """Return the digests of an image's blobs, of all platforms that this daemon has the manifest of."""
    if reference.blob:
        return [str(reference.digest)]
    digest, manifest = await daemon.manifest(reference)
    digests = [str(digest)]
    for entry in manifest.get("manifests", ()):
        try:
            await daemon.control(f"explain/{entry['digest']}")
        except DamselflyError:
            continue  # a platform that this machine never pulled
        inner = Reference(reference.registry, reference.repository, "", Digest.parse(entry["digest"]))
        digests += await _digests(daemon, inner)
    parts = [manifest["config"], *manifest["layers"]] if "layers" in manifest else []
    return digests + [str(part["digest"]) for part in parts]


def _print_status(status: dict[str, Any], console: Console) -> None:
    alone = f"not attached ({status['scheduler_reason']}): blobs come from hosts known from before, and from the origin"
    scheduler = "attached" if status["scheduler"] else alone
    store = status["store"]
    host = f"{status['host']}  (version {status['version']}, zone {status['zone'] or '-'})"
    console.print(f"host       {host}", highlight=False, markup=False)
    console.print(f"scheduler  {scheduler}", highlight=False, markup=False)
    held = f"{store['blobs']} blobs, {store['partial']} partial, {human_bytes(store['bytes'])}"
    console.print(f"store      {held}", highlight=False)
    if not status["active"]:
        console.print("active     nothing is being pulled", highlight=False)
        return
    for blob in status["active"]:
        share = f"{blob['pieces_held']}/{blob['pieces']} pieces of {human_bytes(blob['size'])}"
        target = "in memory" if blob["ring"] else "on disk"
        console.print(f"active     {blob['digest']}", highlight=False, markup=False)
        console.print(f"           {share} {target}, read by {blob['readers']}", highlight=False)


def _print_account(account: dict[str, Any], console: Console) -> None:
    if account["state"] == "unknown":
        console.print(f"{account['digest']}  not asked for here", style="bold", highlight=False)
        return
    found = f"{account['digest']}  {human_bytes(account['size'])}, {account['state']}"
    console.print(found, style="bold", highlight=False)
    if "started_at" not in account:
        console.print(
            "  held since before the daemon started; how it came is not remembered", highlight=False
        )
        return
    began = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(account["started_at"]))
    asked = f"{began}, as {account['registry']}/{account['repository']}"
    console.print(f"  asked for  {asked}", highlight=False, markup=False)
    if account["failure"]:
        console.print(f"  failed     {account['failure']}", highlight=False, markup=False)
    received = account["origin_bytes"] + account["inline_bytes"] + sum(account["peer_bytes"].values())
    rate = human_bytes(int(received / account["seconds"])) if account["seconds"] > 0 else "-"
    ending = "took" if account["finished_at"] else "so far"
    console.print(f"  {ending:10} {account['seconds']:.2f} s, {rate}/s", highlight=False)
    sources = [("origin", account["origin_bytes"]), ("scheduler", account["inline_bytes"])]
    sources += sorted(account["peer_bytes"].items(), key=lambda item: -item[1])
    sources += [("disk, before", account["resumed_bytes"])]
    for name, count in sources:
        if count:
            console.print(f"  from       {name:24} {human_bytes(count):>10}", highlight=False, markup=False)
    console.print(f"  sent on    {human_bytes(account['uploaded_bytes'])} to other hosts", highlight=False)
