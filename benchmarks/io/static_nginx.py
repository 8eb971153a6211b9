"""nginx with sendfile over a folder, plain and with TLS: what serving bytes is measured against."""

import asyncio
import os
import shutil
import socket
from dataclasses import dataclass
from pathlib import Path

CONGESTION = b"reno"
"""Of all sockets that send: needs no privilege, and on loopback costs a quarter of what bbr does."""
START_S_MAX = 10.0
LOOK_S = 0.02
STOP_S_MAX = 5.0
BACKLOG = 512

_CONFIG = """\
daemon off;
{user}
worker_processes 1;
pid {folder}/nginx.pid;
error_log stderr error;
events {{ worker_connections 1024; }}
http {{
    access_log off;
    sendfile on;
    tcp_nopush on;
    keepalive_requests 1000000;
    client_body_temp_path {folder}/t1;
    proxy_temp_path {folder}/t2;
    fastcgi_temp_path {folder}/t3;
    uwsgi_temp_path {folder}/t4;
    scgi_temp_path {folder}/t5;
    default_type application/octet-stream;
    root {root};
    server {{ listen {plain}; }}
    server {{
        listen {tls} ssl;
        ssl_certificate {folder}/certificate.pem;
        ssl_certificate_key {folder}/key.pem;
    }}
}}
"""


class NginxFailed(Exception):
    """nginx cannot be run here; the text says why."""


@dataclass(frozen=True, slots=True)
class Nginx:
    """A running nginx with one worker; `plain` and `tls` are host:port."""

    process: asyncio.subprocess.Process
    worker: int
    """The process that serves."""
    plain: str
    tls: str
    certificate: Path

    @property
    def key(self) -> Path:
        """The certificate's key."""
        return self.certificate.with_name("key.pem")

    @classmethod
    async def start(cls, folder: Path, root: Path) -> "Nginx":
        """Serve the files below `root`; `folder` is for its own. Raises NginxFailed."""
        program = shutil.which("nginx", path=f"{os.environ.get('PATH', '')}:/usr/sbin")
        if program is None:
            raise NginxFailed("bytes are measured against nginx: apt-get install nginx-light")
        certificate = await _make_certificate(folder)
        listeners = [listening_socket() for _ in range(2)]
        plain, tls = (f"127.0.0.1:{each.getsockname()[1]}" for each in listeners)
        config, log = folder / "nginx.conf", folder / "log"
        user = "" if os.geteuid() else "user root;"  # the folder is the user's own, and root is who runs this
        config.write_text(_CONFIG.format(folder=folder, root=root, plain=plain, tls=tls, user=user))
        fds = tuple(each.fileno() for each in listeners)
        with log.open("wb") as output:
            process = await asyncio.create_subprocess_exec(
                *(program, "-c", str(config), "-p", str(folder)),
                pass_fds=fds,
                # nginx takes sockets over that are named here, as at an upgrade of itself: with our congestion control
                env=os.environ | {"NGINX": "".join(f"{fd};" for fd in fds)},
                stdin=asyncio.subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,
            )
        for each in listeners:
            each.close()
        try:
            return cls(process, await _worker(process.pid), plain, tls, certificate)
        except TimeoutError:
            process.kill()
            await process.wait()
            raise NginxFailed(f"nginx did not start: {log.read_text(errors='replace')[-500:]}") from None

    async def stop(self) -> None:
        """End it."""
        if self.process.returncode is not None:
            return
        self.process.terminate()
        try:
            async with asyncio.timeout(STOP_S_MAX):
                await self.process.wait()
        except TimeoutError:
            self.process.kill()
            await self.process.wait()


async def _worker(master: int) -> int:
    """Wait for the one worker of an nginx; raises TimeoutError."""
    found: list[str] = []
    async with asyncio.timeout(START_S_MAX):
        while not found:  # the kernel tells nobody
            await asyncio.sleep(LOOK_S)
            found = _children(master)
    return int(found[0])


def _children(pid: int) -> list[str]:
    path = Path(f"/proc/{pid}/task/{pid}/children")
    return path.read_text().split() if path.exists() else []


def listening_socket() -> socket.socket:
    """Return a socket that listens on a free port of loopback; what it accepts sends with CONGESTION."""
    sock = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_CONGESTION, CONGESTION)
    sock.bind(("127.0.0.1", 0))
    sock.listen(BACKLOG)
    return sock


async def _make_certificate(folder: Path) -> Path:
    """Write certificate.pem and key.pem for 127.0.0.1."""
    if shutil.which("openssl") is None:
        raise NginxFailed("TLS needs a certificate: apt-get install openssl")
    made = folder / "certificate.pem"
    words = "req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2 -subj /CN=bench"
    process = await asyncio.create_subprocess_exec(
        *("openssl", *words.split(), "-addext", "subjectAltName=IP:127.0.0.1"),
        *("-keyout", str(folder / "key.pem"), "-out", str(made)),
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.DEVNULL,
    )
    if await process.wait():
        raise NginxFailed("openssl made no certificate")
    return made
