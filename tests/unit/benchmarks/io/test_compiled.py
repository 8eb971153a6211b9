"""What a compiled build is made of."""

from pathlib import Path

from benchmarks.io import compiled


def write(root: Path, **modules: str) -> None:
    for name, text in modules.items():
        (root / f"{name}.py").write_text(text)


def test_all_that_is_imported_belongs_to_it_and_nothing_else(tmp_path: Path) -> None:
    write(
        tmp_path,
        start="import one\nfrom os import path",
        one="from two import NAME",
        two="NAME = 1",
        other="",
    )
    assert sorted(compiled.closure(tmp_path, "start")) == ["one", "start", "two"]


def test_of_the_simulator_the_machines_and_nothing_that_does_io() -> None:
    modules = compiled.closure(compiled.ROOT, compiled.START)
    assert {"dfdaemon.machine", "scheduler.machine", "benchmarks.simulator.network"} <= set(modules)
    assert set(modules) >= compiled.INTERPRETED
    assert not [name for name in modules if ".io." in name]


def test_another_source_is_another_build() -> None:
    files = list(compiled.closure(compiled.ROOT, compiled.START).values())
    assert compiled.fingerprint(files) == compiled.fingerprint(reversed(files))
    assert compiled.fingerprint(files) != compiled.fingerprint(files[1:])
