"""Blocks come into a text and out of it again."""

from hypothesis import given
from hypothesis import strategies as st

from dfdaemon.install.marks import block, marked, without_blocks

LINES = st.lists(
    st.text(st.characters(exclude_characters="\n\r", exclude_categories=["Cs"]), max_size=20), max_size=8
)


def whole(lines: list[str]) -> str:
    return "".join(f"{line}\n" for line in lines if "# damselfly: " not in line)


def test_a_block_stands_between_two_comments_at_the_indent_of_its_place() -> None:
    assert block(["a = 1", "b = 2"], "  ").splitlines() == [
        "  # damselfly: begin (`dfdaemon unconfigure` takes this out again)",
        "  a = 1",
        "  b = 2",
        "  # damselfly: end",
    ]


@given(LINES, LINES, LINES, st.sampled_from(["", "  ", "\t"]))
def test_what_a_block_replaces_comes_back(
    before: list[str], was: list[str], after: list[str], indent: str
) -> None:
    old = [f"{line}\n" for line in was if not line.startswith("# damselfly: ")]
    first, last = whole(before), whole(after)
    text = first + block(["x = 1"], indent, was=old) + last
    assert marked(text)
    assert without_blocks(text) == first + "".join(old) + last


def test_a_half_removed_block_is_none() -> None:
    text = block(["x = 1"])
    assert not marked(text.replace("# damselfly: end\n", ""))
    assert without_blocks(text.replace("# damselfly: end\n", "")) == text.replace("# damselfly: end\n", "")


def test_the_end_of_one_block_does_not_close_another_that_is_open() -> None:
    broken = block(["x = 1"]).replace("# damselfly: end\n", "")
    text = f"{broken}kept = 1\n{block(['y = 2'])}"
    assert without_blocks(text) == f"{broken}kept = 1\n"
