"""Messages serve Python and the command line alike: an option of the command line stands beside the word of Python."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import nearnext

SOURCE = Path(nearnext.__file__).parent
COMMAND_LINE = ("cli", "serving")
"""Packages whose messages only users of the command line see."""

COMMANDS = ("report/html.py", "model_card.py")
"""Modules that print whole commands."""


def texts(tree: ast.Module) -> Iterator[tuple[int, str]]:
    """The line and the text of each string that is no docstring, values that are filled in as {}."""
    docstrings = {node.value for node in ast.walk(tree) if isinstance(node, ast.Expr)}
    parts = {part for node in ast.walk(tree) if isinstance(node, ast.JoinedStr) for part in node.values}
    for node in ast.walk(tree):
        if isinstance(node, ast.JoinedStr):
            yield (
                node.lineno,
                "".join(str(each.value) if isinstance(each, ast.Constant) else "{}" for each in node.values),
            )
        elif isinstance(node, ast.Constant) and isinstance(node.value, str) and node not in docstrings | parts:
            yield node.lineno, node.value


def named_alone(text: str) -> list[str]:
    """Options of the command line that a text names outside brackets."""
    outside = re.sub(r"\([^()]*\)|nearnext \w.*|ray start .*|at the command line with --\w+", "", text)
    return re.findall(r"(?<![\w-])--[a-z][a-z-]*", outside)


def test_texts_of_both_surfaces_name_options_of_the_command_line_in_brackets():
    found = [
        f"{path.relative_to(SOURCE)}:{line}: {text}"
        for path in SOURCE.rglob("*.py")
        if path.relative_to(SOURCE).parts[0] not in COMMAND_LINE and path.relative_to(SOURCE).as_posix() not in COMMANDS
        for line, text in texts(ast.parse(path.read_text("utf-8")))
        if named_alone(text)
    ]
    assert not found, "\n".join(found)


def test_named_alone():
    assert named_alone("use --gap (30 minutes)") == ["--gap"]
    assert not named_alone("longer than gap (--gap, 30 minutes by default); see nearnext fit --help")
