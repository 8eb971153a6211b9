"""What dfctl asks of a scheduler for the whole cluster: deny a digest, allow it, purge, show what is denied."""

import asyncio
from pathlib import Path
from typing import Any

import aiohttp

from dfdaemon.io.local_client import LocalError
from swarm.io.token_file import read_token

TIMEOUT_S = 10.0


async def ask(scheduler: str, token_file: str, path: str, document: dict[str, str] | None) -> dict[str, Any]:
    """Send a document to a scheduler's metrics address, or read without one; raises LocalError, ConfigError."""
    token = read_token(str(Path(token_file))) if token_file else b""
    headers = {"Authorization": f"Bearer {token.decode('ascii', 'replace')}"} if token else {}
    method = "GET" if document is None else "POST"
    url = f"{scheduler if '://' in scheduler else f'http://{scheduler}'}/admin/{path}"
    try:
        async with (
            asyncio.timeout(TIMEOUT_S),
            aiohttp.ClientSession() as session,
            session.request(method, url, json=document, headers=headers, allow_redirects=False) as answer,
        ):
            found: dict[str, Any] = await answer.json()
    except (aiohttp.ClientError, OSError, ValueError, TimeoutError) as error:
        reason = str(error) or "no answer in time"
        raise LocalError(
            f"no scheduler answers at {scheduler} ({reason}): --scheduler names its metrics_listen"
        ) from error
    if "error" in found:
        raise LocalError(f"the scheduler at {scheduler} refuses: {found['error']}")
    return found
