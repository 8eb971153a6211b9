"""A token server for docker-registry's `auth.token`: RS256 as in distribution's docs/spec/auth/jwt.md.

It runs in a thread of its own; `with TokenServer(directory, policy) as tokens: DockerRegistry(...,
tokens=tokens)`.
"""

import base64
import datetime
import json
import secrets
import threading
import time
import urllib.parse
from collections.abc import Sequence
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from cryptography.x509.oid import NameOID

from benchmarks.origin.access import AccessPolicy, Gate, basic_header

ISSUER = "token.test"
SERVICE = "registry.test"
LEEWAY = datetime.timedelta(minutes=5)
VALID = datetime.timedelta(days=1)


class TokenServer:
    """Gives tokens for what `policy` allows; accounts may push and delete too. `asked` keeps every request's query."""

    def __init__(self, directory: Path, policy: AccessPolicy) -> None:
        self.certificate = directory / "token.crt"
        self.asked: list[str] = []
        self._gate = Gate(policy, secrets.token_bytes(16))
        self._ttl_s = policy.token_ttl_s
        self._key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
        certificate = _certificate(self._key)
        self._x5c = base64.b64encode(certificate.public_bytes(serialization.Encoding.DER)).decode()
        self.certificate.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True)

    @property
    def realm(self) -> str:
        """The URL that the registry's challenges name."""
        return f"http://127.0.0.1:{self._server.server_address[1]}/token"

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def answer(self, authorization: str | None, scopes: Sequence[str]) -> dict[str, Any] | None:
        """The token, or None if the credentials are wrong."""
        account = self._gate.account(authorization)
        if authorization is not None and account is None:
            return None
        readable = self._gate.readable(authorization, scopes)
        actions = ["pull"] if account is None else ["pull", "push", "delete"]
        token = self._sign([{"type": "repository", "name": name, "actions": actions} for name in readable])
        return {"token": token, "access_token": token, "expires_in": int(self._ttl_s)}

    def _sign(self, access: list[dict[str, Any]]) -> str:
        now = int(time.time())
        claims = {
            "iss": ISSUER,
            "sub": "",
            "aud": SERVICE,
            "exp": now + int(self._ttl_s),
            "nbf": now - int(LEEWAY.total_seconds()),
            "iat": now,
            "jti": secrets.token_hex(8),
            "access": access,
        }
        signed = f"{_encoded({'alg': 'RS256', 'typ': 'JWT', 'x5c': [self._x5c]})}.{_encoded(claims)}"
        signature = self._key.sign(signed.encode(), padding.PKCS1v15(), hashes.SHA256())
        return f"{signed}.{_base64url(signature)}"

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        server = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                query = urllib.parse.urlsplit(self.path).query
                scopes = urllib.parse.parse_qs(query).get("scope", [])
                self._reply(query, self.headers.get("Authorization"), scopes)

            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers.get("Content-Length", 0))).decode()
                form = urllib.parse.parse_qs(body)
                user, password = form.get("username", [""])[0], form.get("password", [""])[0]
                self._reply("POST", basic_header(user, password), form.get("scope", []))

            def _reply(self, asked: str, authorization: str | None, scopes: list[str]) -> None:
                server.asked.append(asked)
                words = [word for scope in scopes for word in scope.split()]
                answer = server.answer(authorization, words)
                body = json.dumps(answer or {"details": "no such account"}).encode()
                self.send_response(200 if answer else 401)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, format: str, *arguments: Any) -> None:
                """Requests are in `asked`."""

        return Handler


def _certificate(key: rsa.RSAPrivateKey) -> x509.Certificate:
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, ISSUER)])
    now = datetime.datetime.now(datetime.UTC)
    builder = x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(key.public_key())
    builder = builder.serial_number(1).not_valid_before(now - LEEWAY).not_valid_after(now + VALID)
    return builder.sign(key, hashes.SHA256())


def _encoded(document: dict[str, Any]) -> str:
    return _base64url(json.dumps(document, separators=(",", ":")).encode())


def _base64url(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()
