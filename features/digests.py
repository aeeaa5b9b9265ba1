"""Digests of code and of process definitions: they change with what is computed, and with nothing else.

The digest of code is taken over its syntax trees, so comments, docstrings and formatting do not count. A tree is
spelled as node names and their fields, without line numbers and without empty fields: neither a patch release of Python
nor a minor release that adds a field (3.12 added `type_params`) changes the spelling of the same code, which `ast.dump`
and `ast.unparse` do not promise.
"""

from __future__ import annotations

import ast
from functools import cache
from pathlib import Path

from features.canonical import digest
from features.process import ProcessDefinition

COUNTED_TABLES = frozenset({"process", "parameter", "phase", "quality_attribute", "outcome", "cost", "decision"})
"""Tables of a process definition that change features, labels, scores or the words of reasons.

A table about sources or the operation of a plant does not belong here. Such a table is best declared in a
subclass of `ProcessDefinition` in the package that reads it: adding a table to `features.process` changes feature code.
"""
NOT_COUNTED_KEYS = {"parameter": {"note"}, "outcome": {"compare_splits_on"}}
"""Keys of counted tables that change none of these: remarks, and further comparisons of the report.

The names and units of a source (`aliases`, `unit_aliases`, `quality_codes`) count: they change which rows are kept.
"""


def process_digest(process: ProcessDefinition) -> str:
    """Digest of the part of a process definition that changes features, labels, decisions or the words of reasons.

    A key that is left out equals one with its default, so a new key whose default keeps the former behaviour leaves the
    digests of existing definitions as they are. The defaults themselves are feature code: `features_digest` covers them.
    """
    counted = process.model_dump(mode="json", include=set(COUNTED_TABLES), exclude_defaults=True)
    for table, keys in NOT_COUNTED_KEYS.items():
        content = counted.get(table, {})
        for row in content if isinstance(content, list) else [content]:
            for key in keys:
                row.pop(key, None)
    return digest({table: content for table, content in counted.items() if content})


@cache
def features_digest() -> str:
    """Digest of the code that makes features; where it differs, features have to be made anew."""
    return digest(module_digests(Path(__file__).parent))


def module_digests(root: Path) -> dict[str, str]:
    """Digest of every Python module under a folder, by its path from there."""
    return {p.relative_to(root).as_posix(): source_digest(p.read_bytes()) for p in sorted(root.rglob("*.py"))}


def source_digest(source: bytes | str) -> str:
    """Digest of what a module's source runs: comments, docstrings and formatting do not count."""
    return digest(_spelled(ast.parse(source)))


def _spelled(node: object) -> object:
    """A syntax tree as a JSON value, without what does not run: text that stands alone as a statement, and `u` before text."""
    if isinstance(node, ast.AST):
        fields = [(name, value) for name, value in ast.iter_fields(node) if value not in (None, []) and name != "kind"]
        return [type(node).__name__, *((name, _spelled(value)) for name, value in fields)]
    if isinstance(node, list):
        return [_spelled(part) for part in node if not _is_docstring(part)]
    return ascii(node)


def _is_docstring(node: object) -> bool:
    return isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str)
