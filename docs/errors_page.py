"""Writes `reference/errors.md`, the catalogue of errors, from the exceptions themselves.

What a class says comes from its docstring. The message, and the code that leads to it, come
from the catalogue that core's tests run, so each of them has really been raised.

    python docs/errors_page.py

A test compares the page with what this would write.
"""

from __future__ import annotations

import ast
import importlib.util
import inspect
import logging
import re
import textwrap
from pathlib import Path
from typing import TYPE_CHECKING

from spinach import exc

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import ModuleType

DOCS = Path(__file__).parent
PAGE = DOCS / "reference" / "errors.md"
CATALOGUE = DOCS.parent / "packages" / "spinach-core" / "tests" / "catalogue.py"

HEAD = """\
# Errors

<!-- Written by docs/errors_page.py; change the docstrings in spinach.exc instead. -->

Every exception that Spinach raises is in `spinach.exc`. All but the last four have one base, so
`except SpinachError` catches them, and most can be caught as the built-in error that they
resemble. A message names what was given and what to do about it.
"""

#: A private name of the catalogue: code with it explains nothing by itself.
HELPER = re.compile(r"(?<![\w.])_[a-z]\w*\(")

#: Parts of a message that differ from run to run.
VARYING = (
    (re.compile(r"0x[0-9a-f]+"), "0x…"),
    (re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}"), "…"),
)


def load_catalogue() -> ModuleType:
    """The module that holds a program for each exception."""
    spec = importlib.util.spec_from_file_location("spinach_error_catalogue", CATALOGUE)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def page() -> str:
    """The text of the page."""
    module = load_catalogue()
    parts = [HEAD, tree()]
    parts += [section(error, module.CATALOGUE[error]) for error in in_order()]
    return "\n".join(parts)


def in_order() -> list[type[Exception]]:
    """The exceptions as the module defines them, bases before what derives from them."""
    classes = [value for value in vars(exc).values() if isinstance(value, type)]
    errors = [kind for kind in classes if issubclass(kind, Exception)]
    return [error for error in errors if error.__name__ in exc.__all__]


def tree() -> str:
    """The drawing in the docstring of the module."""
    drawing = inspect.cleandoc(exc.__doc__ or "").split("::\n\n", 1)[1].split("\n\n", 1)[0]
    return f"```text\n{textwrap.dedent(drawing)}\n```\n"


def section(error: type[Exception], raiser: Callable[[], None]) -> str:
    """What is to know about one exception."""
    builtins = [base.__name__ for base in error.__bases__ if base.__module__ == "builtins"]
    own = [base.__name__ for base in error.__bases__ if base.__module__ != "builtins"]
    above = " and ".join(f"`{name}`" for name in (*own, *builtins))
    return "\n".join(
        (
            f"## {error.__name__}\n",
            f"*A kind of {above}.* {prose(error)}\n",
            f"For instance: {first_paragraph(raiser)}\n",
            *listing(error, raiser),
        )
    )


def listing(error: type[Exception], raiser: Callable[[], None]) -> list[str]:
    """The code that raises it, and the message, as far as either tells something."""
    parts = []
    code = body(raiser)
    if not HELPER.search(code):
        parts.append(f"```{{code-block}} python\n{code}\n```\n")
    if not issubclass(error, exc.BrokerError):  # whose messages are made up in the tests
        parts.append(f"```text\n{type_and_message(raiser)}\n```\n")
    return parts


def prose(error: type[Exception]) -> str:
    """The docstring without its sections."""
    text = inspect.cleandoc(error.__doc__ or "")
    return re.split(r"\n\n(?:Args|Raises):\n", text)[0]


def first_paragraph(thing: object) -> str:
    """Of a docstring, on one line, beginning in lower case."""
    text = " ".join((inspect.getdoc(thing) or "").split("\n\n")[0].split())
    return text[:1].lower() + text[1:]


def body(raiser: Callable[[], None]) -> str:
    """The code of a function without its docstring."""
    source = textwrap.dedent(inspect.getsource(raiser))
    function = ast.parse(source).body[0]
    assert isinstance(function, ast.FunctionDef)
    docstring_end = function.body[0].end_lineno
    return textwrap.dedent("\n".join(source.splitlines()[docstring_end:])).strip()


def type_and_message(raiser: Callable[[], None]) -> str:
    """What the interpreter would print, as far as it is the same each time."""
    try:
        raiser()
    except Exception as error:  # noqa: BLE001 - which one it is, core's tests look at
        text = f"{type(error).__name__}: {error}"
    else:
        raise AssertionError(f"{raiser!r} raised nothing")
    for pattern, replacement in VARYING:
        text = pattern.sub(replacement, text)
    return textwrap.fill(text, 92, break_long_words=False, break_on_hyphens=False)


if __name__ == "__main__":
    # The failures are made on purpose.
    logging.disable()
    PAGE.write_text(page(), encoding="utf-8")
    print(f"Wrote {PAGE}")
