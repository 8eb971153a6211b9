"""A real docker-registry (distribution 2.8): plain, as a pull-through cache, with Basic or Bearer."""

import json
import re
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from benchmarks.io import registry_storage
from benchmarks.io.image import Image
from tests.support import processes
from tests.support.processes import ChildProcess, free_port, http_status, run
from tests.support.token_server import ISSUER, SERVICE, TokenServer

PROGRAM = "docker-registry"
SKOPEO_S = 120.0
QUIET_S = 5.0  # how long `traffic` waits for answers in progress

# Apache's common log: host, -, user, [time], "request", status, bytes, and more that we don't need.
_LOGGED = re.compile(r'^\S+ - \S+ \[[^]]*\] "(\S+) (\S+) [^"]*" (\d{3}) (\d+)', re.MULTILINE)
_CONTENT = re.compile(r"/v2/(?P<name>.+)/(?P<kind>manifests|blobs)/(?P<reference>[^/?]+)")


@dataclass(frozen=True, slots=True)
class Answer:
    """One line of the access log: `path` with its query, `size` in body bytes written to the client."""

    method: str
    path: str
    status: int
    size: int


@dataclass(slots=True)
class Traffic:
    """What left the registry by digest, manifests by the reference asked for. Successful answers only."""

    blob_bytes: Counter[str] = field(default_factory=Counter)
    blob_gets: Counter[str] = field(default_factory=Counter)
    manifest_gets: Counter[str] = field(default_factory=Counter)
    heads: Counter[str] = field(default_factory=Counter)
    statuses: Counter[int] = field(default_factory=Counter)

    @property
    def total_blob_bytes(self) -> int:
        """Bytes of all blobs together."""
        return sum(self.blob_bytes.values())

    def add(self, answer: Answer) -> None:
        """Count one answer."""
        self.statuses[answer.status] += 1
        match = _CONTENT.match(answer.path)
        if match is None or answer.status >= 400:
            return
        reference = match["reference"]
        if answer.method == "HEAD":
            self.heads[reference] += 1
        elif answer.method == "GET" and match["kind"] == "manifests":
            self.manifest_gets[reference] += 1
        elif answer.method == "GET":
            self.blob_gets[reference] += 1
            self.blob_bytes[reference] += answer.size


class DockerRegistry:
    """One docker-registry, storage and log in `directory`; a restart keeps the port and the storage.

    `proxy_of`: URL of a registry whose pull-through cache this is. `accounts`: users and passwords, Basic.
    `tokens`: Bearer, with tokens of that server. `storage`: another registry's, to share its content.
    """

    def __init__(
        self,
        directory: Path,
        *,
        name: str = "registry",
        port: int | None = None,
        proxy_of: str | None = None,
        accounts: Mapping[str, str] | None = None,
        tokens: TokenServer | None = None,
        storage: Path | None = None,
    ) -> None:
        self.port = port or free_port()
        self.storage = storage or directory / f"{name}-storage"
        self._log_start = 0
        config = directory / f"{name}.yml"
        config.write_text(json.dumps(self._config(proxy_of, _auth(directory, name, accounts, tokens))))
        self.process = ChildProcess(name, [PROGRAM, "serve", config], directory, ready=self._ready)

    @property
    def address(self) -> str:
        """host:port."""
        return f"127.0.0.1:{self.port}"

    @property
    def url(self) -> str:
        """What a hosts.toml calls `server`."""
        return f"http://{self.address}"

    def start(self) -> Self:
        """Start and wait until it answers."""
        self.process.start()
        return self

    def stop(self) -> None:
        """SIGTERM; answers in progress are cut."""
        self.process.stop()

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.process.__exit__(kind, error, trace)

    def push(self, image: Image, *, credentials: str | None = None) -> None:
        """Push with skopeo. `credentials` are user:password."""
        creds = [] if credentials is None else ["--dest-creds", credentials]
        source = f"oci:{image.directory}:{image.tag}"
        target = f"docker://{self.address}/{image.name}:{image.tag}"
        run(["skopeo", "copy", "--all", "--dest-tls-verify=false", *creds, source, target], SKOPEO_S)

    def place(self, image: Image) -> None:
        """Put the image into the storage as a push would, by hard links: a millisecond instead of seconds."""
        registry_storage.place(self.storage, image)

    def answers(self) -> list[Answer]:
        """The access log since the last `forget_traffic`. An answer in progress is not yet in it."""
        text = self.process.out.read_bytes()[self._log_start :].decode(errors="replace")
        return [Answer(m[1], m[2], int(m[3]), int(m[4])) for m in _LOGGED.finditer(text)]

    def traffic(self) -> Traffic:
        """What left the registry since the last `forget_traffic`."""
        traffic = Traffic()
        for answer in self.answers():
            traffic.add(answer)
        return traffic

    def settled_traffic(self, blob_bytes: int, digest: str | None = None) -> Traffic:
        """`traffic` once at least `blob_bytes` are logged, of all blobs or of this one.

        A client sees its last byte before the log has its line. After 5 s the caller gets what there is.
        """
        deadline = time.monotonic() + QUIET_S
        while True:
            traffic = self.traffic()
            logged = traffic.total_blob_bytes if digest is None else traffic.blob_bytes[digest]
            if logged >= blob_bytes or time.monotonic() > deadline:
                return traffic
            time.sleep(processes.POLL_S)

    def forget_traffic(self) -> None:
        """Count from here on."""
        self._log_start = self.process.out.stat().st_size

    def _ready(self) -> bool:
        try:
            return http_status(f"{self.url}/v2/") in (200, 401)
        except OSError:
            return False

    def _config(self, proxy_of: str | None, auth: dict[str, Any] | None) -> dict[str, Any]:
        """YAML's subset JSON."""
        config: dict[str, Any] = {
            "version": 0.1,
            "log": {"level": "error", "accesslog": {"disabled": False}},
            "storage": {"filesystem": {"rootdirectory": str(self.storage)}, "delete": {"enabled": True}},
            "http": {"addr": self.address, "secret": "of-a-test", "relativeurls": True},
        }
        if proxy_of is not None:
            config["proxy"] = {"remoteurl": proxy_of}
        if auth is not None:
            config["auth"] = auth
        return config


def _auth(
    directory: Path, name: str, accounts: Mapping[str, str] | None, tokens: TokenServer | None
) -> dict[str, Any] | None:
    if accounts is not None:
        path = directory / f"{name}.htpasswd"
        path.write_text("".join(_htpasswd(user, password) for user, password in accounts.items()))
        return {"htpasswd": {"realm": "registry", "path": str(path)}}
    if tokens is not None:
        token = {"realm": tokens.realm, "service": SERVICE, "issuer": ISSUER}
        return {"token": token | {"rootcertbundle": str(tokens.certificate)}}
    return None


def _htpasswd(user: str, password: str) -> str:
    """A line with bcrypt at its lowest cost: docker-registry knows no other hash."""
    return run(["htpasswd", "-nbB", "-C", "4", user, password], SKOPEO_S).strip() + "\n"


def logged_requests(registry: DockerRegistry) -> Iterator[str]:
    """Method, path and status of each request, for a failure's message."""
    return (f"{answer.method} {answer.path} {answer.status} {answer.size}" for answer in registry.answers())
