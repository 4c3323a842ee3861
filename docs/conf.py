"""How the documentation is built: ``sphinx-build -W docs build/docs``. Its notebooks run, on bundled photographs."""

import re
from pathlib import Path
from typing import Any

import aliasing

project = "aliasing"
author = "The aliasing authors"
copyright = "2026, The aliasing authors"  # noqa: A001 - the name that Sphinx reads
release = aliasing.__version__

extensions = [
    "myst_nb",
    "sphinx.ext.autodoc",
    "sphinx.ext.autosummary",
    "sphinx.ext.mathjax",
    "sphinx.ext.napoleon",
    "sphinx.ext.viewcode",
    "sphinx_copybutton",
]
exclude_patterns = ["README.md"]

html_theme = "furo"
html_title = f"aliasing {release}"

# Every notebook runs at every build: what a reader sees is what the code does, and a build that fails says so.
nb_execution_mode = "force"
nb_execution_raise_on_error = True
nb_execution_timeout = 600
nb_merge_streams = True
nb_execution_in_temp = True

myst_enable_extensions = ["dollarmath", "deflist", "colon_fence"]
myst_heading_anchors = 3

autosummary_generate = True
autosummary_ignore_module_all = False  # a package documents what its __all__ offers
autodoc_typehints = "none"  # the docstrings say types, with shapes and ranges
napoleon_google_docstring = False
napoleon_custom_sections = ["Shape"]
napoleon_use_ivar = True
autodoc_default_options = {"members": True, "show-inheritance": True}

HERE = Path(__file__).parent


def from_the_checkout(_app: Any, name: str, source: list[str]) -> None:
    """A page that is ``{from} FILE`` is that file of the checkout, its pictures as seen from here."""
    if not source[0].startswith("{from} "):
        return
    file = HERE / source[0].removeprefix("{from} ").strip()

    def link(match: re.Match[str]) -> str:
        text, target = match.groups()
        if "://" in target or target.startswith("#"):
            return match.group()
        path = file.parent / target
        if path.suffix in (".png", ".gif"):
            return f"{text}(../{path.resolve().relative_to(HERE.parent)})"
        return text[1:-1]  # a folder, or a page that stands in the checkout only

    source[0] = re.sub(r"(\[[^\]]*\])\(([^)]+)\)", link, file.read_text(encoding="utf-8"))


def setup(app: Any) -> None:
    """Called by Sphinx."""
    app.connect("source-read", from_the_checkout)
