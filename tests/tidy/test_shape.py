"""Functions, files and imports keep the shape that lets each file be understood alone."""

from pathlib import Path

import pytest

from tests.tidy.measure import Module, find_cycle, quantile, read_modules, vague_names

ROOT = Path(__file__).parents[2]
PRODUCT = ["swarm", "scheduler", "dfdaemon"]
FUNCTION_LINES_MAX, FUNCTION_LINES_P99, FUNCTION_LINES_MEDIAN = 40, 30, 6
FILE_LINES_MAX, FILE_LINES_MEDIAN = 400, 150


@pytest.fixture(scope="module")
def product() -> list[Module]:
    return read_modules(ROOT, PRODUCT)


@pytest.fixture(scope="module")
def everything() -> list[Module]:
    return read_modules(ROOT, [*PRODUCT, "benchmarks", "scripts"])


def test_functions_are_short(product: list[Module], everything: list[Module]) -> None:
    long = sorted(
        size for module in everything for size in module.function_sizes() if size[0] > FUNCTION_LINES_MAX
    )
    assert not long, f"more than {FUNCTION_LINES_MAX} lines of code: {long}"
    sizes = [size for module in product for size, _ in module.function_sizes()]
    assert quantile(sizes, 0.99) <= FUNCTION_LINES_P99, longest(product)
    assert quantile(sizes, 0.5) <= FUNCTION_LINES_MEDIAN


def longest(modules: list[Module]) -> str:
    sizes = sorted((size for module in modules for size in module.function_sizes()), reverse=True)
    return f"the longest of {len(sizes)} functions: {sizes[: len(sizes) // 100 + 1]}"


def test_files_are_short(product: list[Module], everything: list[Module]) -> None:
    long = {module.name: module.line_count for module in everything if module.line_count > FILE_LINES_MAX}
    assert not long, f"more than {FILE_LINES_MAX} lines: {long}"
    assert quantile([module.line_count for module in product if module.line_count], 0.5) <= FILE_LINES_MEDIAN


def test_no_module_imports_itself_through_others(everything: list[Module]) -> None:
    assert find_cycle(everything) == []


def test_names_say_something(everything: list[Module]) -> None:
    assert vague_names(everything) == []


def test_what_is_public_is_documented(everything: list[Module]) -> None:
    assert [name for module in everything for name in module.undocumented()] == []


def module(source: str, name: str = "sample", file: str = "sample.py") -> Module:
    return Module(name, Path(file), source)


def test_docstrings_comments_and_blank_lines_are_not_code() -> None:
    source = (
        'def f() -> int:\n    """Two\n    lines."""\n\n    # why\n    x = (\n        1\n    )\n    return x\n'
    )
    assert list(module(source).function_sizes()) == [(4, "sample:f")]


def test_a_missing_docstring_is_found() -> None:
    source = '"""M."""\nclass C:\n    """C."""\n    def g(self): ...\n    def _h(self): ...\ndef f(): ...\n'
    assert sorted(module(source).undocumented()) == ["sample:f", "sample:g"]


@pytest.mark.parametrize(
    ("left", "right"),
    [
        ("import p.b", "import p.a"),
        ("from p import b", "from p.a import name"),
        ("from . import b", "from .a import name"),
        ("def f():\n    from p import b", "if TYPE_CHECKING:\n    import p.a"),
    ],
)
def test_a_ring_of_imports_is_found(left: str, right: str) -> None:
    package = Module("p", Path("p/__init__.py"), "")
    ring = [package, module(left, "p.a"), module(right, "p.b")]
    assert set(find_cycle(ring)) == {"p.a", "p.b"}
    assert find_cycle([package, module(left, "p.a"), module("", "p.b")]) == []


def test_a_vague_name_is_found() -> None:
    assert vague_names([module("", "swarm.io._utils"), module("", "swarm.digest")]) == ["swarm.io._utils"]


def test_quantiles_are_those_of_the_sorted_values() -> None:
    assert quantile([9, 1, 5], 0.5) == 5
    assert quantile([1, 2], 0.99) == 2
