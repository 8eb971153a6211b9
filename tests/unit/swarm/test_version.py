from importlib.metadata import version

from packaging.version import Version

from swarm.version import VERSION


def test_the_installed_package_has_this_version() -> None:
    assert Version(version("damselfly")) == Version(VERSION)
