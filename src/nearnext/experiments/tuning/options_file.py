"""Options as a TOML file with one table per method, which ``fit --config`` and ``compare --config`` read."""

import json
import re
import tomllib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from nearnext.atomic import whole_file
from nearnext.errors import ConfigError

HEADER = re.compile(r"(?m)^(?=\[)")
"""Where a table begins."""

BARE_KEY = re.compile(r"[A-Za-z0-9_-]+")


def options_table(method: str, options: Mapping[str, Any], notes: Sequence[str] = ()) -> str:
    """One method's table, with notes as comments."""
    lines = [f"[{_key(method)}]", *(f"# {' '.join(note.split())}" for note in notes)]
    return "\n".join([*lines, *(f"{_key(name)} = {_value(value)}" for name, value in options.items())]) + "\n"


def _key(name: str) -> str:
    return name if BARE_KEY.fullmatch(name) else _text(name)


def _text(value: str) -> str:
    """A TOML string is a JSON string, but for DEL, which has to be escaped as well."""
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")


def _value(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, list | tuple):
        return f"[{', '.join(_value(each) for each in value)}]"  # pyright: ignore[reportUnknownVariableType]
    if isinstance(value, int | float):
        return repr(value)
    if isinstance(value, str):
        return _text(value)
    raise ConfigError(f"an option file cannot hold {value!r}; give a number, a text, true, false or a list")


def readable_options(path: Path) -> str:
    """The text of an option file that tables can be added to, "" where there is none yet."""
    if path.suffix.lower() != ".toml":
        raise ConfigError(f"expected a file named .toml for options, found {path}")
    if not path.exists():
        return ""
    try:
        text = path.read_text("utf-8")
        tables = tomllib.loads(text)
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path} is there and is no TOML file ({error}); name another file") from error
    if not all(isinstance(table, dict) for table in tables.values()):
        raise ConfigError(f"{path} is there and has options outside of tables; name another file")
    return text


def write_options(path: Path, method: str, table: str) -> None:
    """Put a method's table into a file, instead of the one that is there; tables of other methods stay as they are."""
    text = readable_options(path)
    parts = HEADER.split(text)
    heading = f"[{_key(method)}]"
    kept = [part for part in parts if part.split("\n", 1)[0].split("#", 1)[0].strip() != heading]
    before = "".join(kept).rstrip("\n")
    written = f"{before}\n\n{table}" if before else table
    try:
        found = tomllib.loads(written)
    except tomllib.TOMLDecodeError:
        found = {}
    if found != {**tomllib.loads(text), **tomllib.loads(table)}:
        raise ConfigError(f"{path} has tables that cannot be distinguished; name another file")
    with whole_file(path) as unfinished:
        unfinished.write_text(written, encoding="utf-8")
