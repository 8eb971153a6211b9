"""Kinds of registries, each with an image in it and a daemon before it, for tests of real clients."""

import json
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from benchmarks.io.image import Image
from benchmarks.io.origin_registry import OriginRegistry, OriginSettings
from benchmarks.origin.access import AccessPolicy, Account, AuthMode
from tests.support.background import in_background
from tests.support.certificates import make_certificate
from tests.support.cluster import Daemon
from tests.support.containerd import REGISTRY
from tests.support.docker_registry import SKOPEO_S, DockerRegistry
from tests.support.http_client import Reply, fetch
from tests.support.nginx import Nginx
from tests.support.processes import run, short_directory
from tests.support.token_server import TokenServer

USER, PASSWORD = "ann", "a-secret-of-ann"


@dataclass(frozen=True, slots=True)
class Scene:
    """One kind of registry with the image in it, behind a daemon."""

    kind: str
    daemon: Daemon
    private: bool = False
    writable: bool = True

    @property
    def credentials(self) -> str | None:
        """What a client shows, user:password; None where nothing is wanted."""
        return f"{USER}:{PASSWORD}" if self.private else None

    def skopeo(self, verb: str, *words: str | Path) -> str:
        """Run skopeo with the credentials."""
        creds = [f"--creds={self.credentials}"] if self.private else []
        return run(["skopeo", verb, "--tls-verify=false", *creds, *words], SKOPEO_S)

    def push(self, image: Image) -> None:
        """Push through the mirror."""
        creds = [f"--dest-creds={self.credentials}"] if self.private else []
        source, target = f"oci:{image.directory}:{image.tag}", self.name(image)
        run(["skopeo", "copy", "--all", "--dest-tls-verify=false", *creds, source, target], SKOPEO_S)

    def name(self, image: Image) -> str:
        """What skopeo calls an image at the mirror."""
        return f"docker://{self.daemon.mirror}/{image.name}:{image.tag}"

    def get(self, path: str, *headers: tuple[str, str]) -> Reply:
        """A GET without a credential."""
        return fetch("GET", f"{self.daemon.url}{path}?ns={REGISTRY}", headers)


@dataclass(slots=True)
class Builder:
    """Starts registries and daemons, which end with the stack."""

    stack: ExitStack
    directory: Path
    image: Image
    listing: dict[str, Any] = field(default_factory=dict)
    origin: dict[str, Any] = field(default_factory=dict)

    def registry(self, **settings: Any) -> DockerRegistry:
        """A docker-registry with the image in it."""
        registry = self.stack.enter_context(DockerRegistry(self.directory, **settings))
        registry.place(self.image)
        return registry

    def daemon(self, url: str, **mirror: Any) -> Daemon:
        """A daemon without a scheduler before the registry at `url`."""
        settings = {
            "mirror": {"default_registry": REGISTRY, **mirror},
            "origin": {"registries": [{"name": REGISTRY, "url": url, **self.listing}], **self.origin},
        }
        folder = self.stack.enter_context(short_directory())
        return self.stack.enter_context(Daemon(folder, "node", url, settings=settings))

    def plain(self) -> Scene:
        """No credential, no TLS."""
        return Scene("plain", self.daemon(self.registry().url))

    def basic(self) -> Scene:
        """A password."""
        registry = self.registry(accounts={USER: PASSWORD})
        return Scene("basic", self.daemon(registry.url, ping_registry=True), private=True)

    def token(self) -> Scene:
        """A token server."""
        policy = AccessPolicy(AuthMode.BEARER, {USER: Account(PASSWORD)})
        tokens = self.stack.enter_context(TokenServer(self.directory, policy))
        return Scene("token", self.daemon(self.registry(tokens=tokens).url, ping_registry=True), private=True)

    def lent(self) -> Scene:
        """A password, which kubelet's way of plugins gives to the host, and the host lends to its clients."""
        plugins = self.directory / "plugins"
        plugins.mkdir()
        answer = {
            "kind": "CredentialProviderResponse",
            "apiVersion": "credentialprovider.kubelet.k8s.io/v1",
            "cacheKeyType": "Registry",
            "cacheDuration": "1h",
            "auth": {REGISTRY: {"username": USER, "password": PASSWORD}},
        }
        program = plugins / "test-provider"
        program.write_text(f"#!/bin/sh\ncat > /dev/null\ncat <<'END'\n{json.dumps(answer)}\nEND\n")
        program.chmod(0o700)
        provider = {"name": program.name, "matchImages": [REGISTRY], "apiVersion": answer["apiVersion"]}
        config = self.directory / "providers.yaml"
        config.write_text(json.dumps({"kind": "CredentialProviderConfig", "providers": [provider]}))
        self.listing = {"credentials_for_clients": True}
        self.origin = {
            "credential_provider_config": str(config),
            "credential_provider_directory": str(plugins),
        }
        return Scene("lent", self.daemon(self.registry(accounts={USER: PASSWORD}).url), writable=False)

    def cache(self) -> Scene:
        """A pull-through cache, which takes no pushes."""
        registry = self.registry()
        cache = self.stack.enter_context(DockerRegistry(self.directory, name="cache", proxy_of=registry.url))
        return Scene("cache", self.daemon(cache.url), writable=False)

    def mirrored(self) -> Scene:
        """A registry that is out of reach, and a mirror of it that is not: another's repositories, under a prefix."""
        prefixed = replace(self.image, name=f"hub/{self.image.name}")
        mirror = self.stack.enter_context(DockerRegistry(self.directory, name="mirror"))
        mirror.place(prefixed)
        self.listing = {"mirrors": ["http://127.0.0.1:1", f"{mirror.url}/hub"]}
        return Scene("mirrored", self.daemon("http://127.0.0.1:1"), writable=False)

    def tls(self) -> Scene:
        """nginx with a private CA."""
        nginx = self.stack.enter_context(Nginx(self.directory, self.registry().url))
        self.listing = {"ca_file": str(nginx.ca_file)}
        return Scene("tls", self.daemon(nginx.url))

    def mtls(self) -> Scene:
        """nginx that wants a certificate of ours."""
        folder = self.directory / "ours"
        folder.mkdir()
        certificate, key = make_certificate(folder, "127.0.0.2")
        nginx = self.stack.enter_context(Nginx(self.directory, self.registry().url, clients=certificate))
        self.listing = {"ca_file": str(nginx.ca_file)}
        self.listing |= {"certificate_file": str(certificate), "key_file": str(key)}
        return Scene("mtls", self.daemon(nginx.url))

    def redirect(self) -> Scene:
        """A storage of its own, which refuses who shows it a credential, as signed addresses do."""
        settings = OriginSettings(redirect_host="127.0.0.2")
        origin = self.stack.enter_context(in_background(OriginRegistry([self.image], settings)))
        return Scene("redirect", self.daemon(origin.url), writable=False)
