"""How Sphinx builds the documentation; run it with `nox -s docs`."""

from __future__ import annotations

from importlib.metadata import version as installed_version
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sphinx.application import Sphinx

project = "Spinach"
author = "Spinach contributors"
copyright = "2026, Spinach contributors"  # noqa: A001 - the name that Sphinx reads
release = version = installed_version("spinach-core")

extensions = [
    "myst_parser",
    "sphinx.ext.autodoc",
    "sphinx.ext.napoleon",
    "sphinxcontrib.mermaid",
]
exclude_patterns = ["_build"]
myst_enable_extensions = ["colon_fence", "deflist"]
# Headings down to this level can be linked to.
myst_heading_anchors = 3

autodoc_member_order = "bysource"
autodoc_typehints = "description"
autodoc_class_signature = "separated"
napoleon_numpy_docstring = False

html_theme = "furo"
html_title = f"Spinach {version}"

#: Stands for a colon while napoleon looks at the text.
_COLON = "\ue000"


def setup(app: Sphinx) -> None:
    """Keep napoleon from taking what stands before a colon for a type.

    It looks for one in the first line about an attribute, and in what a function returns. Types
    stand in annotations here.
    """
    # It comes with a priority of 500.
    app.connect("autodoc-process-docstring", _hide_colons, priority=400)
    app.connect("autodoc-process-docstring", _show_colons, priority=600)


def _hide_colons(_a: Sphinx, what: str, _n: str, _o: object, _p: object, lines: list[str]) -> None:
    returned = False
    for number, line in enumerate(lines):
        if line.strip():
            returned = line == "Returns:" or (returned and line.startswith(" "))
        first = number == 0 and what in {"attribute", "data", "property"}
        if first or (returned and line != "Returns:"):
            lines[number] = line.replace(": ", f"{_COLON} ")


def _show_colons(_a: Sphinx, _w: str, _n: str, _o: object, _p: object, lines: list[str]) -> None:
    lines[:] = [line.replace(_COLON, ":") for line in lines]
