"""What the documentation names exists: paths, modules, make targets, commands and their options."""

from __future__ import annotations

import ast
import re
import shlex
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest
import typer
from typer.core import TyperGroup

from pipelines.cli import app

ROOT = Path(__file__).parents[1]
HOUSE = ("features", "models", "serving", "pipelines")
TOP = (*HOUSE, "benchmarks", "docs", "examples", "processes", "tests")
PAGES = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md")])
MODULES = sorted(path for package in HOUSE for path in (ROOT / package).rglob("*.py"))
SPAN = re.compile(r"``?([^`\n]+)``?")
FENCE = re.compile(r"^```.*?\n(.*?)^```", re.MULTILINE | re.DOTALL)
LINK = re.compile(r"\]\(([^)#\s]+)[^)]*\)")
DOTTED = re.compile(rf"(?:{'|'.join((*HOUSE, 'benchmarks', 'tests'))})(?:\.\w+)+")
NAMED_FILE = re.compile(r"[\w./<>*-]+\.(?:py|md)")
MADE = ("var/", "VAR/", "http", "/")  # folders of data, addresses and routes


def spans_of(text: str) -> Iterator[str]:
    """Code of a page: spans between backticks, and the lines of its blocks."""
    for block in FENCE.findall(text):
        yield from (line.split("  #")[0].split(" # ")[0].strip() for line in block.splitlines())
    yield from (span.strip() for span in SPAN.findall(FENCE.sub("", text)))


def docstrings_of(path: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            yield from SPAN.findall(ast.get_docstring(node) or "")


def strings_of(path: Path) -> Iterator[str]:
    """Commands that an error text or a docstring tells a person to run, between single quotes."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield from re.findall(r"'((?:batchguard|make) [^']+)'", node.value)


def missing(span: str, beside: Path) -> str:
    """What a span names and is not there; empty where all is there or nothing is named.

    Args:
        span: Code from a page or a docstring.
        beside: Folder that a path may be relative to, beside the root.
    """
    if span.startswith(("batchguard ", "keys ", "audit ", "records ")):
        return missing_command(span.removeprefix("batchguard ").replace("[", " ").replace("]", " "))
    if span.startswith(("$", "open ", "curl ")):  # programs and files of the reader
        return ""
    if span.startswith("make "):
        return " ".join(t for t in span.split()[1:] if re.fullmatch("[a-z-]+", t) and t not in targets())
    if span.startswith("python -m "):
        return missing_name(span.split()[2]) if span.split()[2].split(".")[0] in TOP else ""
    if DOTTED.fullmatch(span) and not span.endswith((".py", ".md", ".json", ".toml")):
        return missing_name(span)
    paths = [word.strip("(),;:") for word in span.split()]
    return next((path for word in paths if "/" in word and (path := missing_path(word, beside))), "")


def missing_path(text: str, beside: Path) -> str:
    """A file or folder that is not there, or a test that its file does not have."""
    file, _, name = text.partition("::")
    if name and (ROOT / file).is_file():
        return "" if name.split("[")[0] in names_in(ROOT / file) else text
    if text.startswith(MADE) or not (text.split("/")[0] in TOP or NAMED_FILE.fullmatch(text)):
        return ""
    pattern = re.sub(r"<[^>]*>|NAME|NNNN", "*", text.rstrip("/"))
    there = [folder for folder in (ROOT, beside) for end in ("", ".py") if any(folder.glob(pattern + end))]
    return "" if there else text


def missing_name(dotted: str) -> str:
    """A module by its file, and after it a name in the module, and after it a member of a class."""
    parts = dotted.split(".")
    for n in range(len(parts), 0, -1):
        path = ROOT.joinpath(*parts[:n])
        file = path.with_suffix(".py") if path.with_suffix(".py").is_file() else path / "__init__.py"
        if file.is_file():
            return "" if n == len(parts) or parts[n] in names_in(file) else dotted
    return dotted


@cache
def names_in(path: Path) -> frozenset[str]:
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        match node:
            case ast.ClassDef(name=name) | ast.FunctionDef(name=name):
                names.add(name)
            case ast.Name(id=name, ctx=ast.Store()):
                names.add(name)
            case ast.alias(name=name, asname=asname):
                names.add(asname or name)
    return frozenset(names)


@cache
def targets() -> frozenset[str]:
    return frozenset(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))


def missing_command(line: str) -> str:
    """The first sub-command or option of a command line that the program does not have."""
    words = shlex.split(line.replace("...", ""))
    command = typer.main.get_group(app)
    while words and isinstance(command, TyperGroup):
        if words[0] not in command.commands:
            return f"batchguard {line}"
        command = command.commands[words.pop(0)]
    known = {option for parameter in command.params for option in (*parameter.opts, *parameter.secondary_opts)}
    return next((word for word in words if word.startswith("--") and word.split("=")[0] not in known | {"--help"}), "")


@pytest.mark.parametrize("path", PAGES, ids=lambda path: str(path.relative_to(ROOT)))
def test_a_page_names_what_exists(path) -> None:
    if path.name == "CHANGELOG.md":  # it names what is gone, too
        return
    text = path.read_text(encoding="utf-8")
    links = [link for link in LINK.findall(text) if "://" not in link and not (path.parent / link).exists()]
    found = [name for span in spans_of(text) if (name := missing(span, path.parent))]
    assert links + found == []


@pytest.mark.parametrize("package", HOUSE)
def test_docstrings_and_error_texts_name_what_exists(package) -> None:
    wrong = {}
    for path in MODULES:
        if path.is_relative_to(ROOT / package):
            spans = [*docstrings_of(path), *strings_of(path)]
            found = [name for span in spans if (name := missing(span, path.parent))]
            wrong |= {str(path.relative_to(ROOT)): found} if found else {}
    assert wrong == {}


@pytest.mark.parametrize(
    "span",
    [
        "serving/nowhere.py", "features.nowhere", "features.contracts.NOTHING", "make nothing", "batchguard fly",
        "batchguard run --nothing", "keys nothing", "python -m benchmarks.nothing",
        "tests/test_docs.py::test_nothing",
    ],
)  # fmt: skip
def test_the_guard_sees_what_does_not_exist(span) -> None:
    assert missing(span, ROOT)


@pytest.mark.parametrize(
    "span",
    [
        "pipelines/defs/", "features.contracts", "features.contracts.Table", "processes/<id>.toml", "make bench-forest",
        "batchguard run --process P.toml --history DIR", "keys list", "mmol/L", "/v1/batches", "var/demo",
        "tests/test_docs.py::test_a_page_names_what_exists[README.md]",
    ],
)  # fmt: skip
def test_the_guard_lets_pass_what_exists(span) -> None:
    assert missing(span, ROOT) == ""
