"""An import contract that import-linter's own types cannot say: what is not I/O by its path imports none."""

import tomllib
from pathlib import Path
from typing import cast

from grimp import ImportGraph
from importlinter import Contract, ContractCheck, fields, output

BANNED_API = ("tool", "ruff", "lint", "flake8-tidy-imports", "banned-api")


def banned_modules() -> frozenset[str]:
    """The packages that ruff's configuration bans from pure modules: one list serves both tools.

    The import graph knows foreign packages by their first name only: parts (urllib.request) are ruff's alone.
    """
    table = tomllib.loads(Path("pyproject.toml").read_text())
    for key in BANNED_API:
        table = table[key]
    return frozenset(name for name in table if "." not in name)


class PureContract(Contract):
    """No module imports I/O, except those that a folder of their path declares to be I/O."""

    impure_folders = fields.SetField(subfield=fields.StringField())

    def is_impure(self, module: str) -> bool:
        """Whether the module's path declares it to be I/O."""
        folders = cast(set[str], self.impure_folders)
        return not folders.isdisjoint(module.split(".")[1:])

    def check(self, graph: ImportGraph, verbose: bool) -> ContractCheck:
        """Collects the imports that break the rule."""
        banned = banned_modules()
        broken = [
            f"{module} -> {imported}"
            for module in sorted(graph.modules)
            if not graph.is_module_squashed(module) and not self.is_impure(module)
            for imported in sorted(graph.find_modules_directly_imported_by(module))
            if imported in banned or self.is_impure(imported)
        ]
        return ContractCheck(kept=not broken, metadata={"broken": broken})

    def render_broken_contract(self, check: ContractCheck) -> None:
        """Prints the imports that break the rule."""
        for line in check.metadata["broken"]:
            output.print_error(f"pure module imports I/O: {line}")
