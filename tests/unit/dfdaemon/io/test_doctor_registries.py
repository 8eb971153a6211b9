"""Files with which this host asks registries: what is missing or wrong is told one by one, with its setting."""

from pathlib import Path
from typing import Any

import pytest

from dfdaemon.config import OriginConfig, RegistryConfig
from dfdaemon.io.doctor_registries import unusable
from tests.support.certificates import make_certificate

PROVIDERS = """
kind: CredentialProviderConfig
providers:
- name: {name}
  apiVersion: credentialprovider.kubelet.k8s.io/v1
  matchImages: ["*.example.com"]
  defaultCacheDuration: 1m
"""


def of_registry(root: Path, **settings: Any) -> list[str]:
    """What is wrong with the files of one registry."""
    return list(unusable(OriginConfig(registries=(RegistryConfig("r.test", **settings),)), root))


@pytest.mark.parametrize("root", ["/", "node"], ids=["here", "below a root"])
def test_each_missing_file_is_told_with_its_setting(root: str, tmp_path: Path) -> None:
    place = Path("/") if root == "/" else tmp_path
    found = of_registry(
        place,
        ca_file="/none/ca.pem",
        certificate_file="/none/c.pem",
        key_file="/none/k.pem",
        username="u",
        password_file="/none/password",
    )
    assert [text.partition("_file")[0] for text in found] == [
        f"registries.r.test.{name}" for name in ("ca", "certificate", "key", "password")
    ]
    assert all(f"{place / 'none'}/" in text and "No such file" in text for text in found)


def test_files_that_are_in_order_are_not_told(tmp_path: Path) -> None:
    make_certificate(tmp_path, "127.0.0.1")
    (tmp_path / "password").write_text("s3cr3t\n")
    good = of_registry(
        tmp_path,
        ca_file="/certificate.pem",
        certificate_file="/certificate.pem",
        key_file="/key.pem",
        username="u",
        password_file="/password",
    )
    assert good == []
    assert of_registry(tmp_path, ca_file="/none", insecure_skip_verify=True) == [], "which leaves it unread"
    assert list(unusable(OriginConfig(), tmp_path)) == []


def test_files_that_hold_something_else_are_told(tmp_path: Path) -> None:
    make_certificate(tmp_path, "127.0.0.1")
    (tmp_path / "other").mkdir()
    make_certificate(tmp_path / "other", "127.0.0.1")
    (tmp_path / "empty").write_text("\n")
    (text,) = of_registry(tmp_path, ca_file="/empty")
    assert "registries.r.test.ca_file" in text
    assert "is no PEM file" in text
    (text,) = of_registry(tmp_path, certificate_file="/certificate.pem", key_file="/other/key.pem")
    assert text.startswith(f"registries.r.test: {tmp_path}/certificate.pem cannot be used: ")
    (text,) = of_registry(tmp_path, username="u", password_file="/empty")
    assert text == f"registries.r.test.password_file: {tmp_path}/empty is not as expected: it is empty"


def test_dockers_configuration_is_read(tmp_path: Path) -> None:
    config = OriginConfig(docker_config="/config.json")
    (text,) = unusable(config, tmp_path)
    assert text.startswith("origin.docker_config: ")
    (tmp_path / "config.json").write_text("s3cr3t")
    (text,) = unusable(config, tmp_path)
    assert "s3cr3t" not in text
    (tmp_path / "config.json").write_text("{}")
    assert list(unusable(config, tmp_path)) == []


def test_plugins_are_looked_for(tmp_path: Path) -> None:
    config = OriginConfig(credential_provider_config="/plugins.yaml", credential_provider_directory="/bin")
    assert [text.partition(": ")[0] for text in unusable(config, tmp_path)] == [
        "origin.credential_provider_config",
        "origin.credential_provider_directory",
    ]
    (tmp_path / "bin").mkdir()
    (tmp_path / "plugins.yaml").write_text(PROVIDERS.format(name="helper"))
    (text,) = unusable(config, tmp_path)
    assert (
        text == f"origin.credential_provider_directory: {tmp_path}/bin/helper is no program that can be run"
    )
    (tmp_path / "bin/helper").touch(mode=0o755)
    assert list(unusable(config, tmp_path)) == []
