from dataclasses import dataclass, fields

import pytest

from swarm.errors import ConfigError
from swarm.settings import require, setting


@dataclass(frozen=True)
class Inner:
    port: int = setting(80, "The port.")


@dataclass(frozen=True)
class Outer:
    name: str = setting("a", "The name.")
    inner: Inner = setting(Inner, "What is inside.")


def test_a_setting_has_its_default_and_its_help() -> None:
    assert Outer() == Outer("a", Inner(80))
    assert [field.metadata["help"] for field in fields(Outer)] == ["The name.", "What is inside."]


def test_what_holds_is_accepted() -> None:
    require(True, "port", 80, "1 to 65535")


def test_what_does_not_hold_names_the_key_the_value_and_what_is_allowed() -> None:
    with pytest.raises(ConfigError, match=r"^mirror\.port = 0 is not allowed: 1 to 65535$"):
        require(False, "mirror.port", 0, "1 to 65535")
