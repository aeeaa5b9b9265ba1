"""TOML files as typed objects, with errors in one line: which file, which key, what was expected."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import TypeVar

from pydantic import BaseModel, ValidationError

from features.errors import ProcessError

Content = TypeVar("Content", bound=BaseModel)


def read_toml(path: Path) -> dict:
    """Tables and keys of a file.

    Raises:
        ProcessError: The file cannot be read, or is not TOML.
    """
    try:
        return parsed_toml(path.read_text(encoding="utf-8"), str(path))
    except OSError as error:
        raise ProcessError(f"{path}: {error.strerror}", remedy="Name a TOML file that can be read.") from None
    except UnicodeDecodeError as error:
        raise ProcessError(f"{path}: not TOML: {error}") from None


def parsed_toml(text: str, where: str) -> dict:
    """Tables and keys of a text; `where` names it in errors.

    Raises:
        ProcessError: It is not TOML.
    """
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise ProcessError(f"{where}: not TOML: {error}") from None


def validated(
    content: dict, kind: type[Content], where: str, *, whole: str = "the file", expected: str | None = None
) -> Content:
    """The content as an object of its type.

    Args:
        content: Tables and keys.
        kind: The type.
        where: Names the file in errors.
        whole: Names what an error about no single key is about.
        expected: What an error says was expected; None: the keys of the type.

    Raises:
        ProcessError: A key is unknown or missing, or a value does not fit.
    """
    try:
        return kind.model_validate(content)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        key = ".".join(map(str, first["loc"])) or whole
        raise ProcessError(
            f"{where}: {key}: {first['msg'].removeprefix('Value error, ')}",
            expected=expected or f"keys {', '.join(kind.model_fields)}",
        ) from None
