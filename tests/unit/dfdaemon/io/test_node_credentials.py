"""Which account this host has for an image, and how often it asks for it."""

import asyncio
import json
from collections.abc import Mapping, Sequence
from pathlib import Path

from dfdaemon.config import OriginConfig, RegistryConfig
from dfdaemon.credentials import Credential
from dfdaemon.io.node_credentials import HUB_SERVER, NodeCredentials
from swarm.errors import OurselvesError
from swarm.facts import Note

PROVIDERS = {
    "kind": "CredentialProviderConfig",
    "providers": [
        {
            "name": "cloud",
            "matchImages": ["*.cloud.test"],
            "apiVersion": "credentialprovider.kubelet.k8s.io/v1",
            "defaultCacheDuration": "1h",
        }
    ],
}


class Programs:
    """Answers of programs by name, and what they were asked."""

    def __init__(self, **answers: object) -> None:
        self.answers = answers
        self.asked: list[tuple[str, str]] = []

    async def run(self, argv: Sequence[str], asked: bytes, environment: Mapping[str, str]) -> str:
        name = argv[0].rpartition("/")[2].replace("docker-credential-", "")
        self.asked.append((" ".join([name, *argv[1:]]), asked.decode()))
        await asyncio.sleep(0)
        answer = self.answers[name]
        if isinstance(answer, Exception):
            raise answer
        return json.dumps(answer)


def provided(kind: str, duration: str | None = None) -> dict[str, object]:
    """A plugin's answer."""
    auth = {"*.cloud.test": {"username": "u", "password": "p"}}
    answer = {"kind": "CredentialProviderResponse", "cacheKeyType": kind, "auth": auth}
    return answer if duration is None else {**answer, "cacheDuration": duration}


def plugins(directory: Path, programs: Programs, notes: list[Note] | None = None) -> NodeCredentials:
    """The accounts of a host with one plugin."""
    file = directory / "providers.yaml"
    file.write_text(json.dumps(PROVIDERS))
    config = OriginConfig(credential_provider_config=str(file), credential_provider_directory="/plugins")
    return NodeCredentials(config, ([] if notes is None else notes).append, programs.run)


async def test_nobody_has_an_account() -> None:
    credentials = NodeCredentials(OriginConfig())
    assert not credentials.are_any
    assert await credentials.of("r.test", "a") is None


async def test_a_password_from_a_mounted_secret_is_read_again_when_it_changes(tmp_path: Path) -> None:
    secret = tmp_path / "password"
    secret.write_text("one\n")
    entry = RegistryConfig(name="r.test", username="ann", password_file=str(secret))
    credentials = NodeCredentials(OriginConfig(registries=(entry,)))
    assert await credentials.of("r.test", "a") == Credential("ann", "one")
    assert await credentials.of("other.test", "a") is None
    secret.write_text("second\n")
    assert await credentials.of("r.test", "a") == Credential("ann", "second")


async def test_a_config_of_docker_and_its_helpers(tmp_path: Path) -> None:
    file = tmp_path / "config.json"
    account = {"username": "ann", "password": "pw"}
    helpers = {"docker.io": "hub", "helped.test": "helper"}
    file.write_text(json.dumps({"auths": {"r.test": account}, "credHelpers": helpers}))
    programs = Programs(hub={"Username": "bob", "Secret": "s"}, helper={"Username": "<token>", "Secret": "t"})
    credentials = NodeCredentials(OriginConfig(docker_config=str(file)), run=programs.run)
    assert await credentials.of("r.test", "a") == Credential("ann", "pw")
    assert await credentials.of("docker.io", "library/x") == Credential("bob", "s")
    found = await asyncio.gather(*(credentials.of("helped.test", str(count)) for count in range(5)))
    assert found == [Credential("", "", "t")] * 5
    assert programs.asked == [("hub get", HUB_SERVER), ("helper get", "helped.test")], "each once"
    file.write_text(json.dumps({"auths": {"r.test": {**account, "password": "changed"}}}))
    assert await credentials.of("r.test", "a") == Credential("ann", "changed")


async def test_a_plugin_is_asked_once_for_what_its_answer_counts(tmp_path: Path) -> None:
    images = [("x.cloud.test", "a"), ("x.cloud.test", "a"), ("x.cloud.test", "b"), ("y.cloud.test", "a")]
    for kind, runs in [("Image", 3), ("Registry", 2), ("Global", 1)]:
        programs = Programs(cloud=provided(kind))
        credentials = plugins(tmp_path, programs)
        for image in images:
            assert await credentials.of(*image) == Credential("u", "p")
        assert len(programs.asked) == runs, kind
    assert await credentials.of("other.test", "a") is None
    assert json.loads(programs.asked[0][1])["image"] == "x.cloud.test/a"


async def test_an_answer_that_counts_for_no_time_is_asked_for_again(tmp_path: Path) -> None:
    programs = Programs(cloud=provided("Global", "0s"))
    credentials = plugins(tmp_path, programs)
    for _ in range(2):
        assert await credentials.of("x.cloud.test", "a") == Credential("u", "p")
    assert len(programs.asked) == 2


async def test_what_fails_is_told_once_and_passed_over(tmp_path: Path) -> None:
    for answer in (OurselvesError("cloud ended with 1"), {"kind": "Other"}):
        notes: list[Note] = []
        programs = Programs(cloud=answer)
        credentials = plugins(tmp_path, programs, notes)
        assert [await credentials.of("x.cloud.test", "a") for _ in range(3)] == [None] * 3
        assert len(programs.asked) == 1, "not again for a while"
        assert [note.name for note in notes] == ["credentials_failed"]
