import tomllib
from dataclasses import dataclass

from hypothesis import given
from hypothesis import strategies as st

from dfdaemon.config import DaemonConfig
from scheduler.config import SchedulerConfig
from swarm.io.config_render import markdown, render
from swarm.io.config_schema import build, keys, value_at
from swarm.io.config_values import from_toml
from swarm.settings import setting


@dataclass(frozen=True, slots=True)
class Table:
    name: str = setting("", "A name.")
    limit_bytes: int = setting(0, "A | limit.")


@dataclass(frozen=True, slots=True)
class Deep:
    flag: bool = setting(True, "A flag.")


@dataclass(frozen=True, slots=True)
class Part:
    tables: tuple[Table, ...] = setting((), "Tables.")
    deep: Deep = setting(Deep, "Deeper.")
    size_bytes: int = setting(1 << 30, "A size.")


@dataclass(frozen=True, slots=True)
class Everything:
    part: Part = setting(Part, "A part.")
    text: str = setting("", "A text.")
    wait_s: float = setting(1.0, "A wait.")
    names: tuple[str, ...] = setting((), "Names.")


texts = st.text(st.characters(exclude_categories=["C", "Zl", "Zp"]), max_size=20).filter(str.isprintable)
numbers = st.integers(0, 1 << 50)
everything = st.builds(
    Everything,
    st.builds(
        Part,
        st.lists(st.builds(Table, texts, numbers), max_size=3).map(tuple),
        st.builds(Deep, st.booleans()),
        st.one_of(numbers, st.integers(0, 40).map(lambda power: 1 << power)),
    ),
    texts,
    st.floats(0, 1e9),
    st.lists(texts, max_size=3).map(tuple),
)


def flat(table: dict[str, object], section: str = "") -> dict[str, object]:
    values: dict[str, object] = {}
    for name, value in table.items():
        path = f"{section}.{name}" if section else name
        values.update(flat(value, path) if isinstance(value, dict) else {path: value})
    return values


@given(everything)
def test_what_is_written_can_be_read(config: Everything) -> None:
    known = {key.path: key for key in keys(Everything)}
    read = flat(tomllib.loads(render(config)))
    assert build(Everything, {path: from_toml(known[path], value) for path, value in read.items()}) == config


def test_every_key_of_the_programs_has_help_and_a_default() -> None:
    for config_class in (DaemonConfig, SchedulerConfig):
        for key in keys(config_class):
            assert key.help.endswith("."), key.path
            assert value_at(config_class(), key.path) == key.default


def test_the_reference_lists_keys_and_columns() -> None:
    text = markdown(Everything, "program")
    assert '| `text` | `""` | A text. |' in text
    assert "### `[part]` A part." in text
    assert '| `size_bytes` | `"1GiB"` | A size. |' in text
    assert "| `tables[].limit_bytes` | `0` | A \\| limit. |" in text
    assert text.index("`[part]`") < text.index("`[part.deep]`")
