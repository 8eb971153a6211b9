"""Image references and blob addresses as people type them: `registry/repository:tag@digest`,
`https://registry/v2/…`."""

import re
from dataclasses import dataclass
from urllib.parse import urlsplit

from dfdaemon.names import LIBRARY, NAME_CHARS_MAX, REPOSITORY, TAG
from swarm.digest import Digest
from swarm.errors import BadName

_BLOB_PATH = re.compile(r"/v2/(?P<repository>.+)/blobs/(?P<digest>[^/]+)")


@dataclass(frozen=True, slots=True)
class Reference:
    """What to pull. `digest` wins over `tag`; `blob` says that it names a blob and not a manifest."""

    registry: str
    repository: str
    tag: str = ""
    digest: Digest | None = None
    blob: bool = False

    @property
    def path(self) -> str:
        """The path of the OCI distribution API that answers it."""
        kind = "blobs" if self.blob else "manifests"
        return f"/v2/{self.repository}/{kind}/{self.digest or self.tag}"

    def __str__(self) -> str:
        tag = f":{self.tag}" if self.tag else ""
        digest = f"@{self.digest}" if self.digest else ""
        return f"{self.registry}/{self.repository}{tag}{digest}"


def parse_reference(text: str) -> Reference:
    """Read an image name or the URL of a blob; raises BadName or BadDigest.

    As containers' tools do: no registry means docker.io, one word there means library/word, no tag means
    latest.
    """
    if text.startswith(("http://", "https://")):
        return _parse_blob_url(text)
    name, _, digest = text.partition("@")
    registry, repository = _split_registry(name)
    tag = ""
    if ":" in repository:
        repository, _, tag = repository.rpartition(":")
    if registry == "docker.io" and "/" not in repository:
        repository = LIBRARY + repository
    if not digest and not tag and not name.endswith(":"):
        tag = "latest"
    if not REPOSITORY.fullmatch(repository) or len(repository) > NAME_CHARS_MAX:
        raise BadName(
            text[:200], "expected registry/repository:tag or registry/repository@sha256:..., in lower case"
        )
    if (tag or name.endswith(":")) and not TAG.fullmatch(tag):
        raise BadName(text[:200], "a tag has up to 128 letters, digits, dots, dashes and underscores")
    return Reference(registry, repository, tag, Digest.parse(digest) if digest else None)


def _split_registry(name: str) -> tuple[str, str]:
    first, slash, rest = name.partition("/")
    if slash and ("." in first or ":" in first or first == "localhost"):
        return first, rest
    return "docker.io", name


def _parse_blob_url(text: str) -> Reference:
    url = urlsplit(text)
    match = _BLOB_PATH.fullmatch(url.path)
    if match is None or not REPOSITORY.fullmatch(match["repository"]):
        raise BadName(text[:200], "expected https://registry/v2/repository/blobs/sha256:...")
    return Reference(
        url.netloc.rpartition("@")[2], match["repository"], "", Digest.parse(match["digest"]), blob=True
    )
