"""Measures the shape of code: sizes, names, documentation and import cycles, from the syntax tree alone."""

import ast
import graphlib
import io
import re
import tokenize
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

GENERATED = re.compile(r"_pb2(_grpc)?\.py$")
VAGUE_NAMES = frozenset(
    {"base", "common", "helpers", "lib", "misc", "stuff", "tools", "util", "utilities", "utils"}
)
LAYOUT_TOKENS = frozenset(
    {tokenize.COMMENT, tokenize.NL, tokenize.NEWLINE, tokenize.INDENT, tokenize.DEDENT, tokenize.ENDMARKER}
)

FUNCTION = (ast.FunctionDef, ast.AsyncFunctionDef)
NAMED = (*FUNCTION, ast.ClassDef)
DOCUMENTED = (*NAMED, ast.Module)


@dataclass(frozen=True)
class Module:
    """One source file, read and parsed."""

    name: str
    path: Path
    source: str

    @cached_property
    def tree(self) -> ast.Module:
        """The syntax tree."""
        return ast.parse(self.source)

    @property
    def line_count(self) -> int:
        """All lines, whatever is on them."""
        return self.source.count("\n")

    @cached_property
    def code_lines(self) -> frozenset[int]:
        """The numbers of the lines that hold code: no blank ones, comments or docstrings."""
        lines: set[int] = set()
        for token in tokenize.generate_tokens(io.StringIO(self.source).readline):
            if token.type not in LAYOUT_TOKENS:
                lines.update(range(token.start[0], token.end[0] + 1))
        for node in ast.walk(self.tree):
            if isinstance(node, DOCUMENTED) and ast.get_docstring(node, clean=False) is not None:
                lines.difference_update(range(node.body[0].lineno, (node.body[0].end_lineno or 0) + 1))
        return frozenset(lines)

    def function_sizes(self) -> Iterator[tuple[int, str]]:
        """The lines of code in each function's body, and its name."""
        for node in ast.walk(self.tree):
            if isinstance(node, FUNCTION):
                body = range(node.body[0].lineno, (node.end_lineno or 0) + 1)
                yield len(self.code_lines.intersection(body)), f"{self.name}:{node.name}"

    def undocumented(self) -> Iterator[str]:
        """The public module, classes and functions that have no docstring."""
        if self.line_count and ast.get_docstring(self.tree) is None:
            yield self.name
        for scope in ast.walk(self.tree):
            if isinstance(scope, ast.Module | ast.ClassDef):
                for node in scope.body:
                    if (
                        isinstance(node, NAMED)
                        and not node.name.startswith("_")
                        and not ast.get_docstring(node)
                    ):
                        yield f"{self.name}:{node.name}"

    def imported(self, known: frozenset[str]) -> set[str]:
        """The modules among `known` that this one imports, wherever in it, for types only or not."""
        found: set[str] = set()
        for node in ast.walk(self.tree):
            if isinstance(node, ast.Import):
                found.update(alias.name for alias in node.names)
            elif isinstance(node, ast.ImportFrom):
                origin = self._origin(node)
                names = {f"{origin}.{alias.name}" for alias in node.names}
                found.update(names & known or {origin})
        return (found & known) - {self.name}

    def _origin(self, node: ast.ImportFrom) -> str:
        """The full name of what stands between `from` and `import`."""
        if not node.level:
            return node.module or ""
        package = self.name.split(".") + (["__init__"] if self.path.name == "__init__.py" else [])
        return ".".join(package[: -node.level] + ([node.module] if node.module else []))


def read_modules(root: Path, packages: list[str]) -> list[Module]:
    """Every module of the packages under `root`, without generated code."""
    modules = []
    for path in sorted(path for package in packages for path in (root / package).rglob("*.py")):
        if not GENERATED.search(path.name):
            parts = path.relative_to(root).with_suffix("").parts
            name = ".".join(parts[:-1] if parts[-1] == "__init__" else parts)
            modules.append(Module(name, path, path.read_text(encoding="utf-8")))
    return modules


def quantile(values: list[int], share: float) -> int:
    """The value below which that share of the values lies."""
    return sorted(values)[min(len(values) - 1, int(len(values) * share))]


def find_cycle(modules: list[Module]) -> list[str]:
    """One ring of modules that import each other; empty when there is none."""
    known = frozenset(module.name for module in modules)
    graph = graphlib.TopologicalSorter({module.name: module.imported(known) for module in modules})
    try:
        graph.prepare()
    except graphlib.CycleError as error:
        return list(error.args[1])
    return []


def vague_names(modules: list[Module]) -> list[str]:
    """Modules whose name says nothing."""
    return [module.name for module in modules if module.name.rsplit(".", 1)[-1].strip("_") in VAGUE_NAMES]
