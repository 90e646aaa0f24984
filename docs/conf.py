"""How Sphinx builds the documentation; run it with `nox -s docs`."""

from __future__ import annotations

from importlib.metadata import version as installed_version

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
