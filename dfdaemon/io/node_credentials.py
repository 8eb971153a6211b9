"""Which account this host has for an image: from its configuration, Docker's config.json, or kubelet's plugins.

Asked in this order, the first that knows one wins. Files are read again when they change; answers of programs are
kept as long as they say. Nothing here is logged or told to anybody but the registry itself.
"""

import asyncio
import os
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import TypeVar

from dfdaemon.config import OriginConfig, RegistryConfig
from dfdaemon.credentials import (
    BadCredentials,
    Credential,
    Provided,
    Provider,
    best,
    read_docker_config,
    read_helper_answer,
    read_provided,
    read_providers,
)
from dfdaemon.endpoints import DOCKER_HUB
from dfdaemon.io.credential_programs import run_program
from dfdaemon.io.watched_file import WatchedFile
from swarm.errors import OurselvesError
from swarm.facts import Note

HELPER_S = 300.0
"""How long a helper's answer counts: helpers of clouds give tokens for hours, and do not say for how long."""
FAILED_S = 10.0
"""A program that failed is not run again for this long: a pull asks many times a second."""
KEPT_MAX = 1024
"""Answers of programs that are kept."""
HUB_SERVER = "https://index.docker.io/v1/"
"""What Docker's helpers call Docker Hub."""

T = TypeVar("T")
Accounts = Mapping[str, Credential]
Run = Callable[..., Awaitable[str]]


@dataclass(frozen=True, slots=True)
class _Kept:
    accounts: Accounts = field(repr=False)
    until: float


class NodeCredentials:
    """The accounts of this host. Used on the event loop's thread only."""

    def __init__(
        self,
        config: OriginConfig,
        note: Callable[[Note], None] = lambda note: None,
        run: Run = run_program,
    ) -> None:
        self._own = {entry.name: _own(entry) for entry in config.registries if entry.username}
        self._docker = WatchedFile(config.docker_config, read_docker_config) if config.docker_config else None
        self._providers = (
            WatchedFile(config.credential_provider_config, read_providers)
            if config.credential_provider_config
            else None
        )
        self._directory = config.credential_provider_directory
        self._note = note
        self._run = run
        self._kept: OrderedDict[tuple[str, str], _Kept] = OrderedDict()
        self._asking: dict[tuple[str, str], asyncio.Task[Accounts]] = {}

    @property
    def are_any(self) -> bool:
        """Whether this host may have an account anywhere."""
        return bool(self._own or self._docker or self._providers)

    async def of(self, registry: str, repository: str) -> Credential | None:
        """Return the account for an image; None without one. A source that fails is told, and passed over."""
        image = f"{registry}/{repository}"
        for source in (self._from_config, self._from_docker, self._from_plugins):
            try:
                found = await source(registry, image)
            except OurselvesError as error:
                self._note(
                    Note("credentials_failed", fields=(("registry", registry), ("reason", str(error))))
                )
                continue
            if found is not None:
                return found
        return None

    async def _from_config(self, registry: str, image: str) -> Credential | None:
        own = self._own.get(registry)
        return None if own is None else own.value()

    async def _from_docker(self, registry: str, image: str) -> Credential | None:
        if self._docker is None:
            return None
        config = self._docker.value()
        helper = config.helper(registry)
        if helper:
            server = HUB_SERVER if registry == DOCKER_HUB else registry
            accounts = await self._once(("helper", f"{helper} {server}"), lambda: self._help(helper, server))
            if accounts:
                return accounts[server]
        return config.account(image)

    async def _help(self, helper: str, server: str) -> Accounts:
        said = await self._run([f"docker-credential-{helper}", "get"], server.encode(), {})
        accounts = {server: _understood(helper, lambda: read_helper_answer(said))}
        self._keep(("helper", f"{helper} {server}"), accounts, HELPER_S)
        return accounts

    async def _from_plugins(self, registry: str, image: str) -> Credential | None:
        for provider in self._providers.value() if self._providers is not None else ():
            if provider.knows(image):
                found = best(await self._accounts(provider, registry, image), image)
                if found is not None:
                    return found
        return None

    async def _accounts(self, provider: Provider, registry: str, image: str) -> Accounts:
        for key in (image, registry, ""):
            kept = self._known((provider.name, key))
            if kept is not None:
                return kept
        return await self._once((provider.name, image), lambda: self._ask(provider, image))

    async def _ask(self, provider: Provider, image: str) -> Accounts:
        program = os.path.join(self._directory, provider.name)
        said = await self._run(
            [program, *provider.arguments], provider.request(image), dict(provider.environment)
        )
        found: Provided = _understood(provider.name, lambda: read_provided(said, provider, image))
        self._keep((provider.name, found.key), found.accounts, found.seconds)
        return found.accounts

    # --- what programs said -----------------------------------------------------------------------------------

    async def _once(self, key: tuple[str, str], ask: Callable[[], Awaitable[Accounts]]) -> Accounts:
        """Return what is kept, or run a program, one at a time for each key."""
        kept = self._known(key)
        if kept is not None:
            return kept
        running = self._asking.get(key)
        if running is None:
            running = asyncio.ensure_future(self._ran(key, ask))
            self._asking[key] = running
            running.add_done_callback(lambda done: self._asking.pop(key) and done.exception())
        return await asyncio.shield(running)

    async def _ran(self, key: tuple[str, str], ask: Callable[[], Awaitable[Accounts]]) -> Accounts:
        try:
            return await ask()
        except OurselvesError:
            self._keep(key, {}, FAILED_S)
            raise

    def _known(self, key: tuple[str, str]) -> Accounts | None:
        kept = self._kept.get(key)
        return kept.accounts if kept is not None and self._now() < kept.until else None

    def _keep(self, key: tuple[str, str], accounts: Accounts, seconds: float) -> None:
        self._kept[key] = _Kept(accounts, self._now() + seconds)
        self._kept.move_to_end(key)
        if len(self._kept) > KEPT_MAX:
            self._kept.popitem(last=False)

    @staticmethod
    def _now() -> float:
        return asyncio.get_running_loop().time()


def _own(entry: RegistryConfig) -> WatchedFile[Credential]:
    return WatchedFile(entry.password_file, lambda text: Credential(entry.username, text.strip()))


def _understood(program: str, read: Callable[[], T]) -> T:
    """Read a program's answer; raises OurselvesError when it is none."""
    try:
        return read()
    except BadCredentials as error:
        raise OurselvesError(f"the answer of {program} is not as expected: {error}") from None
