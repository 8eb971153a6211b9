"""Docker's mirrors change, the text around them does not."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dfdaemon.install.daemon_json import KEY, with_mirror, without_mirror
from swarm.errors import ConfigError

URL = "http://127.0.0.1:4001"
OTHER = "https://mirror.example"


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("", f'{{\n  "{KEY}": ["{URL}"]\n}}\n'),
        ("{}\n", f'{{\n  "{KEY}": ["{URL}"]\n}}\n'),
        ('{"a": 1}', f'{{"a": 1, "{KEY}": ["{URL}"]}}'),
        ('{\n\t"a": 1,\n\t"b": {}\n}\n', f'{{\n\t"a": 1,\n\t"b": {{}},\n\t"{KEY}": ["{URL}"]\n}}\n'),
        (f'{{"{KEY}":["{OTHER}"],"a":1}}', f'{{"{KEY}":["{URL}", "{OTHER}"],"a":1}}'),
        (
            f'{{\n  "{KEY}": [\n    "{OTHER}"\n  ]\n}}\n',
            f'{{\n  "{KEY}": [\n    "{URL}",\n    "{OTHER}"\n  ]\n}}\n',
        ),
        (f'{{"{KEY}": []}}', f'{{"{KEY}": ["{URL}"]}}'),
        (f'{{"{KEY}": ["{OTHER}", "{URL}"]}}', f'{{"{KEY}": ["{URL}", "{OTHER}"]}}'),
    ],
)
def test_our_mirror_is_first(before: str, after: str) -> None:
    assert with_mirror(before, URL) == after
    assert with_mirror(after, URL) == after


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
)
MIRRORS = st.lists(st.sampled_from([OTHER, "https://b.example"]), unique=True)


@given(st.dictionaries(st.text(), VALUES), st.none() | MIRRORS, st.sampled_from([None, 0, 2, "\t"]))
def test_it_goes_as_it_came(
    tree: dict[str, Any], mirrors: list[str] | None, indent: int | str | None
) -> None:
    tree = tree if mirrors is None else {**tree, KEY: mirrors}
    changed = with_mirror(json.dumps(tree, indent=indent), URL)
    assert json.loads(changed) == {**tree, KEY: [URL, *tree.get(KEY, [])]}
    rest = without_mirror(changed, URL)
    assert rest is not None
    assert json.loads(rest) == {key: value for key, value in tree.items() if key != KEY or value}


@pytest.mark.parametrize("text", ["{", "[]", '{"registry-mirrors": "a"}', '{"registry-mirrors": [1]}'])
def test_what_cannot_be_read_is_refused_with_the_files_name(text: str) -> None:
    with pytest.raises(ConfigError, match=r"/etc/docker/daemon\.json .*Nothing was changed"):
        with_mirror(text, URL)
    assert without_mirror(text, URL) is None


def test_a_file_without_our_mirror_has_nothing_to_take_out() -> None:
    assert without_mirror(f'{{"{KEY}": ["{OTHER}"]}}', URL) is None
