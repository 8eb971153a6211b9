"""The accounts that a host has at registries, in the forms in which other tools keep them.

Docker's config.json (docs.docker.com, "docker login"), also as a Kubernetes secret of type dockerconfigjson, and
kubelet's credential provider plugins (kubernetes.io, "Configure a kubelet image credential provider").
"""

import base64
import binascii
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from typing import Any

from dfdaemon.endpoints import DOCKER_HUB

IDENTITY = "<token>"
"""What a credential helper names as user when its secret is an identity token."""
PROVIDERS_MAX = 64
"""Plugins of one kubelet: a cluster has one for each cloud."""
CACHE_S_MAX = 24 * 3600.0
"""Longest time for which a plugin's answer counts: cloud accounts rotate within the day."""

_HUB_NAMES = frozenset({"index.docker.io", "registry-1.docker.io", "registry.hub.docker.com", DOCKER_HUB})
_HELPER = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*|")
_DURATION = re.compile(r"(\d+(?:\.\d+)?)(ns|us|µs|ms|s|m|h)")
_UNITS = {"ns": 1e-9, "us": 1e-6, "µs": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0, "h": 3600.0}


class BadCredentials(ValueError):
    """A file, or an answer of a program, that does not hold credentials; the text says why and quotes nothing."""


@dataclass(frozen=True, slots=True)
class Credential:
    """One account: a user with a password, or an identity token (OAuth2's refresh token)."""

    username: str
    password: str = field(repr=False)
    identity_token: str = field(default="", repr=False)

    @property
    def basic(self) -> str:
        """The Authorization header of the Basic scheme (RFC 7617)."""
        both = f"{self.username}:{self.password}".encode()
        return f"Basic {base64.b64encode(both).decode()}"


@dataclass(frozen=True, slots=True)
class DockerConfig:
    """A config.json: accounts by place, and the helpers that know more."""

    accounts: Mapping[str, Credential] = field(default_factory=dict)
    helpers: Mapping[str, str] = field(default_factory=dict)
    store: str = ""

    def account(self, image: str) -> Credential | None:
        """Return the account whose place fits an image best."""
        return best(self.accounts, image)

    def helper(self, registry: str) -> str:
        """Return the name of the program that knows a registry's account; empty: none."""
        for name, helper in self.helpers.items():
            if place_of(name) == registry:
                return helper
        return self.store


@dataclass(frozen=True, slots=True)
class Provider:
    """One plugin of kubelet's CredentialProviderConfig."""

    name: str
    images: tuple[str, ...]
    api_version: str
    cache_s: float
    arguments: tuple[str, ...] = ()
    environment: tuple[tuple[str, str], ...] = ()

    def knows(self, image: str) -> bool:
        """Tell whether it is to be asked about an image."""
        return any(fits(place, image) for place in self.images)

    def request(self, image: str) -> bytes:
        """Return what the plugin reads on its standard input."""
        asked = {"apiVersion": self.api_version, "kind": "CredentialProviderRequest", "image": image}
        return json.dumps(asked).encode()


@dataclass(frozen=True, slots=True)
class Provided:
    """A plugin's answer. `key`: for which images it counts; `seconds`: how long, 0: once."""

    key: str
    seconds: float
    accounts: Mapping[str, Credential]


# --- places -----------------------------------------------------------------------------------------------------


def place_of(text: str) -> str:
    """Return the place that a key of config.json means: host[:port][/path], Docker Hub under its one name."""
    place = text.strip().lower()
    place = place.removeprefix("https://").removeprefix("http://").rstrip("/")
    host, _, path = place.partition("/")
    path = "" if path in ("v1", "v2") else path
    host = DOCKER_HUB if host in _HUB_NAMES else host
    return f"{host}/{path}" if path else host


def fits(place: str, image: str) -> bool:
    """Tell whether an image, registry/repository, lies at a place, whose host may hold `*` within its parts."""
    host, _, path = place_of(place).partition("/")
    registry, _, repository = image.partition("/")
    parts, actual = host.split("."), registry.split(".")
    if len(parts) != len(actual) or not all(map(fnmatchcase, actual, parts)):
        return False
    return not path or repository == path or repository.startswith(f"{path}/")


def best(accounts: Mapping[str, Credential], image: str) -> Credential | None:
    """Return the account with the longest place that fits an image."""
    fitting = [place for place in accounts if fits(place, image)]
    return accounts[max(fitting, key=lambda place: len(place_of(place)))] if fitting else None


# --- config.json ------------------------------------------------------------------------------------------------


def read_docker_config(text: str) -> DockerConfig:
    """Read a config.json; raises BadCredentials."""
    document = _object(text)
    accounts: dict[str, Credential] = {}
    for name, entry in _mapping(document, "auths").items():
        account = _account(entry)
        if account is not None:
            accounts[name] = account
    helpers = {name: _helper(helper) for name, helper in _mapping(document, "credHelpers").items()}
    return DockerConfig(accounts, helpers, _helper(document.get("credsStore") or ""))


def _helper(name: Any) -> str:
    """Return what follows `docker-credential-` in the name of a program; it is no path to somewhere else."""
    if not _HELPER.fullmatch(str(name)):
        raise BadCredentials("a helper's name has letters, digits, dots, dashes and underscores")
    return str(name)


def _account(entry: Any) -> Credential | None:
    """Read one account; None for an entry that only says that a helper knows it."""
    if not isinstance(entry, dict):
        raise BadCredentials("an account is an object")
    user, password = str(entry.get("username") or ""), str(entry.get("password") or "")
    token = str(entry.get("identitytoken") or "")
    if entry.get("auth") and not user:
        try:
            both = base64.b64decode(str(entry["auth"]), validate=True).decode()
        except (binascii.Error, UnicodeDecodeError):
            raise BadCredentials("`auth` is base64 of user:password") from None
        user, colon, password = both.partition(":")
        if not colon:
            raise BadCredentials("`auth` is base64 of user:password")
    return Credential(user, password.rstrip("\x00"), token) if password or token else None


def read_helper_answer(text: str) -> Credential:
    """Read what `docker-credential-NAME get` prints; raises BadCredentials."""
    document = _object(text)
    user, secret = document.get("Username"), document.get("Secret")
    if not isinstance(user, str) or not isinstance(secret, str) or not secret:
        raise BadCredentials("it names no Username and Secret")
    return Credential("", "", secret) if user == IDENTITY else Credential(user, secret)


# --- kubelet's plugins --------------------------------------------------------------------------------------------


def read_providers(text: str) -> tuple[Provider, ...]:
    """Read a CredentialProviderConfig (YAML or JSON); raises BadCredentials."""
    import yaml  # a megabyte of memory that few daemons need

    try:
        document = yaml.safe_load(text)
    except yaml.YAMLError:
        raise BadCredentials("it is not YAML") from None
    if not isinstance(document, dict) or document.get("kind") != "CredentialProviderConfig":
        raise BadCredentials("its kind is not CredentialProviderConfig")
    found = document.get("providers")
    if not isinstance(found, list) or len(found) > PROVIDERS_MAX:
        raise BadCredentials(f"`providers` is a list of at most {PROVIDERS_MAX}")
    return tuple(_provider(entry) for entry in found)


def _provider(entry: Any) -> Provider:
    if not isinstance(entry, dict):
        raise BadCredentials("a provider is an object")
    name, version = str(entry.get("name") or ""), str(entry.get("apiVersion") or "")
    if not name or "/" in name or name in (".", ".."):
        raise BadCredentials("a provider's name is that of a file in the folder of the plugins")
    if not version.startswith("credentialprovider.kubelet.k8s.io/"):
        raise BadCredentials(f"the apiVersion of the provider {name} is not known")
    images = tuple(str(image) for image in entry.get("matchImages") or ())
    arguments = tuple(str(word) for word in entry.get("args") or ())
    variables = tuple((str(one["name"]), str(one["value"])) for one in entry.get("env") or ())
    cache_s = _seconds(entry.get("defaultCacheDuration"), 0.0)
    return Provider(name, images, version, cache_s, arguments, variables)


def read_provided(text: str, provider: Provider, image: str) -> Provided:
    """Read a plugin's answer about an image; raises BadCredentials."""
    document = _object(text)
    if document.get("kind") != "CredentialProviderResponse":
        raise BadCredentials("its kind is not CredentialProviderResponse")
    keys = {"Image": image, "Registry": image.partition("/")[0], "Global": ""}
    kind = document.get("cacheKeyType")
    if kind not in keys:
        raise BadCredentials("its cacheKeyType is not Image, Registry or Global")
    accounts = {
        place: Credential(str(entry.get("username") or ""), str(entry.get("password") or ""))
        for place, entry in _mapping(document, "auth").items()
        if isinstance(entry, dict)
    }
    return Provided(keys[kind], _seconds(document.get("cacheDuration"), provider.cache_s), accounts)


def _seconds(value: Any, default: float) -> float:
    """Read a duration as Go writes it: 1h30m, 90s, 0."""
    if value is None:
        return default
    text = str(value).strip()
    if text in ("0", "0s"):
        return 0.0
    found = _DURATION.findall(text)
    if "".join(number + unit for number, unit in found) != text:
        raise BadCredentials("a duration is written like 1h30m")
    return min(CACHE_S_MAX, sum(float(number) * _UNITS[unit] for number, unit in found))


def _object(text: str) -> dict[str, Any]:
    try:
        document = json.loads(text)
    except (ValueError, RecursionError):
        raise BadCredentials("it is not JSON") from None
    if not isinstance(document, dict):
        raise BadCredentials("it is not a JSON object")
    return document


def _mapping(document: Mapping[str, Any], key: str) -> dict[str, Any]:
    found = document.get(key) or {}
    if not isinstance(found, dict):
        raise BadCredentials(f"`{key}` is not an object")
    return found
