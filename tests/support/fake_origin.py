"""A server that answers what a test says, and remembers the requests it got, headers as they came."""

import inspect
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from socket import AF_INET, AddressFamily

from aiohttp import web
from aiohttp.abc import AbstractResolver, ResolveResult

Answer = Callable[[web.BaseRequest], web.StreamResponse | Awaitable[web.StreamResponse]]


@dataclass(frozen=True, slots=True)
class Seen:
    """One request. `headers` in order, repeated ones kept."""

    method: str
    path: str
    headers: list[tuple[str, str]]
    body: bytes

    def all(self, name: str) -> list[str]:
        """All headers of this name."""
        return [value for key, value in self.headers if key.lower() == name.lower()]


@dataclass(slots=True)
class FakeOrigin:
    """The answers are used in order, the last one again and again."""

    answers: list[Answer]
    seen: list[Seen] = field(default_factory=list)
    host: str = "127.0.0.1"
    port: int = 0

    @property
    def url(self) -> str:
        """Where it listens."""
        return f"http://{self.host}:{self.port}"

    async def handle(self, request: web.BaseRequest) -> web.StreamResponse:
        """Answer one request."""
        headers = [(key.decode(), value.decode()) for key, value in request.raw_headers]
        self.seen.append(Seen(request.method, request.raw_path, headers, await request.read()))
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        found = answer(request)
        return await found if inspect.isawaitable(found) else found


@asynccontextmanager
async def fake_origin(*answers: Answer, host: str = "127.0.0.1") -> AsyncIterator[FakeOrigin]:
    """Run one on a free port."""
    origin = FakeOrigin(list(answers), host=host)
    runner = web.ServerRunner(web.Server(origin.handle, auto_decompress=False), shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, host, 0).start()
    origin.port = runner.addresses[0][1]
    try:
        yield origin
    finally:
        await runner.cleanup()


def says(status: int, body: bytes = b"", *headers: tuple[str, str]) -> Answer:
    """Answer with this."""

    def answer(request: web.BaseRequest) -> web.StreamResponse:
        response = web.Response(status=status, body=body)
        for key, value in headers:
            response.headers.add(key, value)
        return response

    return answer


class FakeResolver(AbstractResolver):
    """Names lead where a test says; each question takes the next answer, the last one stays."""

    def __init__(self, **names: Iterable[str]) -> None:
        self.names = {name.replace("_", "."): list(addresses) for name, addresses in names.items()}

    async def resolve(self, host: str, port: int = 0, family: AddressFamily = AF_INET) -> list[ResolveResult]:
        """Return the next address of a name; raises OSError for others."""
        if host not in self.names:
            raise OSError(f"no such name: {host}")
        addresses = self.names[host]
        address = addresses.pop(0) if len(addresses) > 1 else addresses[0]
        return [ResolveResult(hostname=host, host=address, port=port, family=AF_INET, proto=0, flags=0)]

    async def close(self) -> None:
        """Nothing to close."""
