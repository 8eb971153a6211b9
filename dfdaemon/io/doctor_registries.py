"""The doctor's look at the files with which this host asks registries: authorities, certificates, accounts."""

import os
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from yarl import URL

from dfdaemon.config import OriginConfig, RegistryConfig
from dfdaemon.credentials import BadCredentials, read_docker_config, read_providers
from dfdaemon.endpoints import Endpoints
from dfdaemon.io.doctor_probes import below
from dfdaemon.io.origin_tls import TlsContexts
from dfdaemon.io.watched_file import WatchedFile
from swarm.errors import ConfigError, OurselvesError
from swarm.io.pem_file import read_pem


def unusable(config: OriginConfig, root: Path) -> Iterator[str]:
    """Yield what is wrong with each file that settings of `origin` name; quotes nothing of their content."""
    contexts = TlsContexts()
    for entry in config.registries:
        bad = list(_bad_pem_files(entry, root))
        yield from bad or _bad_together(config, entry, root, contexts)
        if entry.password_file:
            yield from _bad_account(entry, root)
    if config.docker_config:
        try:
            WatchedFile(str(below(root, config.docker_config)), read_docker_config).value()
        except OurselvesError as error:
            yield f"origin.docker_config: {error}"
    if config.credential_provider_config:
        yield from _bad_plugins(config, root)


def _bad_pem_files(entry: RegistryConfig, root: Path) -> Iterator[str]:
    for name in ("ca_file", "certificate_file", "key_file"):
        path = getattr(entry, name)
        if path and not (name == "ca_file" and entry.insecure_skip_verify):  # which leaves it unread
            try:
                read_pem(str(below(root, path)), f"registries.{entry.name}.{name}")
            except ConfigError as error:
                yield str(error)


def _bad_together(
    config: OriginConfig, entry: RegistryConfig, root: Path, contexts: TlsContexts
) -> Iterator[str]:
    """Try the files as a connection does: a key may be that of another certificate."""
    ca_file, certificate_file, key_file = (
        str(below(root, path)) if path else ""
        for path in (entry.ca_file, entry.certificate_file, entry.key_file)
    )
    endpoint = replace(
        Endpoints(config).of(entry.name),
        ca_file=ca_file,
        certificate_file=certificate_file,
        key_file=key_file,
    )
    try:
        contexts.of(URL(endpoint.base), endpoint)
    except OurselvesError as error:
        yield f"registries.{entry.name}: {error}"


def _bad_account(entry: RegistryConfig, root: Path) -> Iterator[str]:
    try:
        WatchedFile(str(below(root, entry.password_file)), _not_empty).value()
    except OurselvesError as error:
        yield f"registries.{entry.name}.password_file: {error}"


def _not_empty(text: str) -> str:
    if not text.strip():
        raise BadCredentials("it is empty")
    return text


def _bad_plugins(config: OriginConfig, root: Path) -> Iterator[str]:
    directory = below(root, config.credential_provider_directory)
    try:
        providers = WatchedFile(str(below(root, config.credential_provider_config)), read_providers).value()
    except OurselvesError as error:
        yield f"origin.credential_provider_config: {error}"
        providers = ()
    if not os.path.isdir(directory):
        yield f"origin.credential_provider_directory: {directory} is no folder"
        return
    for provider in providers:
        program = directory / provider.name
        if not (os.path.isfile(program) and os.access(program, os.X_OK)):
            yield f"origin.credential_provider_directory: {program} is no program that can be run"
