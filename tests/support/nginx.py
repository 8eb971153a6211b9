"""A real nginx with TLS in front of a registry, as companies run it: a private CA, perhaps clients' certificates."""

from pathlib import Path
from types import TracebackType
from typing import Self

from tests.support.certificates import make_certificate
from tests.support.processes import ChildProcess, free_port, tcp_open

_CONFIG = """\
daemon off;
master_process off;
pid {folder}/nginx.pid;
error_log stderr error;
events {{ worker_connections 256; }}
http {{
    access_log off;
    client_body_temp_path {folder}/body;
    proxy_temp_path {folder}/proxy;
    fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi;
    scgi_temp_path {folder}/scgi;
    server {{
        listen 127.0.0.1:{port} ssl;
        ssl_certificate {certificate};
        ssl_certificate_key {key};
        {clients}
        client_max_body_size 0;
        location / {{
            proxy_pass {upstream};
            proxy_http_version 1.1;
            proxy_request_buffering off;
            proxy_set_header Host $http_host;
            proxy_set_header X-Forwarded-Proto https;
        }}
    }}
}}
"""


class Nginx:
    """TLS before `upstream`, a URL. `clients`: certificates (PEM) of those who may come; None: everybody."""

    def __init__(self, directory: Path, upstream: str, *, clients: Path | None = None) -> None:
        folder = directory / "nginx"
        folder.mkdir()
        self.port = free_port()
        self.ca_file, key = make_certificate(folder, "127.0.0.1")
        strict = f"ssl_client_certificate {clients}; ssl_verify_client on;" if clients else ""
        config = folder / "nginx.conf"
        config.write_text(
            _CONFIG.format(
                folder=folder,
                port=self.port,
                certificate=self.ca_file,
                key=key,
                clients=strict,
                upstream=upstream,
            )
        )
        argv: list[str | Path] = ["nginx", "-c", config, "-p", folder]
        self.process = ChildProcess("nginx", argv, folder, ready=tcp_open("127.0.0.1", self.port))

    @property
    def url(self) -> str:
        """Where it listens."""
        return f"https://127.0.0.1:{self.port}"

    def __enter__(self) -> Self:
        self.process.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.process.__exit__(kind, error, trace)
