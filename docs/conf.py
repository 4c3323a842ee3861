"""How the documentation is built: ``sphinx-build -W docs build/docs``. Its notebooks run, on bundled photographs."""

import re
from pathlib import Path
from typing import Any

import ziamath
from docutils import nodes
from latex2mathml.converter import convert
from sphinx import addnodes

import aliasing
from aliasing.report.words import glossary

project = "aliasing"
author = "The aliasing authors"
copyright = "2026, The aliasing authors"  # noqa: A001 - the name that Sphinx reads
release = aliasing.__version__

extensions = [
    "myst_nb",
    "sphinx.ext.autodoc",
    "sphinx.ext.autosummary",
    "sphinx.ext.napoleon",
    "sphinx.ext.viewcode",
    "sphinx_copybutton",
]
exclude_patterns = ["README.md"]

html_theme = "furo"
html_title = f"aliasing {release}"
html_static_path = ["_static", str(Path(ziamath.__file__).with_name("fonts") / "STIXTwoMath-Regular.ttf")]
html_css_files = ["pages.css"]
html_math_renderer = "mathml"  # the browser sets it, without a script or anything from elsewhere

# Every notebook runs at every build: what a reader sees is what the code does, and a build that fails says so.
nb_execution_mode = "force"
nb_execution_raise_on_error = True
nb_execution_timeout = 600
nb_merge_streams = True
nb_execution_in_temp = True

myst_enable_extensions = ["dollarmath", "deflist", "colon_fence"]
myst_heading_anchors = 3

default_role = "py:obj"  # `names` in docstrings are links
autosummary_generate = True
autosummary_ignore_module_all = False  # a package documents what its __all__ offers
autodoc_typehints = "none"  # the docstrings say types, with shapes and ranges
napoleon_google_docstring = False
napoleon_custom_sections = ["Shape"]
napoleon_use_ivar = True
autodoc_default_options = {"members": True, "show-inheritance": True, "exclude-members": "Classifier"}  # al.Classifier

HERE = Path(__file__).parent
FROM = "{from} "
SOURCES = {page.name: page.read_text("utf-8").removeprefix(FROM).strip() for page in HERE.glob("*.md")}
PAGES = {(HERE / source).resolve(): page for page, source in SOURCES.items() if "\n" not in source}


def from_the_checkout(_app: Any, name: str, source: list[str]) -> None:
    """A page that is ``{from} FILE`` is that file of the checkout, its pictures and links as seen from here."""
    if not source[0].startswith(FROM):
        return
    file = HERE / source[0].removeprefix(FROM).strip()

    def link(match: re.Match[str]) -> str:
        text, target = match.groups()
        if "://" in target or target.startswith("#"):
            return match.group()
        path = file.parent / target
        if path.suffix in (".png", ".gif"):
            return f"{text}(../{path.resolve().relative_to(HERE.parent)})"
        if path.resolve() in PAGES:
            return f"{text}({PAGES[path.resolve()]})"
        return text[1:-1]  # a folder, or a file that is not a page here

    source[0] = re.sub(r"(\[[^\]]*\])\(([^)]+)\)", link, file.read_text(encoding="utf-8"))


def link_names(app: Any, doctree: nodes.document) -> None:
    """Make code such as `al.measure_jitter(…)` in a sentence a link to its entry in the reference."""
    for code in list(doctree.findall(nodes.literal)):
        name = re.fullmatch(r"(?:al|aliasing)((?:\.\w+)+)(?:\(.*\))?", code.astext())
        if name and not isinstance(code.parent, nodes.reference | addnodes.pending_xref):
            target = {"refdomain": "py", "reftype": "obj", "reftarget": f"aliasing{name[1]}"}
            link = addnodes.pending_xref("", refdoc=app.env.docname, refexplicit=True, refwarn=False, **target)
            code.replace_self(link)
            link += code


HEADINGS = {word.lower(): heading for heading in glossary() for word in heading.split(", ")}
WORDS = re.compile(
    rf"(?<!\w)(?:{'|'.join(re.escape(word) for word in sorted(HEADINGS, key=len, reverse=True))})(?![\w-])".replace(
        r"\ ", r"\s+"
    ),
    re.IGNORECASE,
)
ELSEWHERE = nodes.title, nodes.literal, nodes.literal_block, nodes.reference, nodes.raw, nodes.math, nodes.comment


def link_words(app: Any, doctree: nodes.document, page: str) -> None:
    """Link each word of the glossary, where a page first uses it, to its entry."""
    if page in ("glossary", "changelog", "contributing") or page.startswith(("api", "generated/")):
        return
    sections = app.env.get_doctree("glossary").findall(nodes.section)
    anchors = {section[0].astext(): section["ids"][0] for section in sections}
    links = [link.astext().lower() for link in doctree.findall(nodes.reference)]
    seen = {HEADINGS[text] for text in links if text in HEADINGS}
    for text in list(doctree.findall(nodes.Text)):
        ancestor = text.parent
        while ancestor is not None and not isinstance(ancestor, ELSEWHERE):
            ancestor = ancestor.parent
        if ancestor is not None:
            continue
        parts, end = [], 0
        for match in WORDS.finditer(text):
            heading = HEADINGS[" ".join(match[0].lower().split())]
            if heading not in seen:
                seen.add(heading)
                target = f"{app.builder.get_relative_uri(page, 'glossary')}#{anchors[heading]}"
                word = nodes.reference("", match[0], internal=True, refuri=target, classes=["word"])
                parts += [nodes.Text(text[end : match.start()]), word]
                end = match.end()
        if parts:
            text.parent.replace(text, [*parts, nodes.Text(text[end:])])


def formula(writer: Any, node: nodes.Element) -> None:
    """A formula as MathML, in its line or on a line of its own."""
    writer.body.append(convert(node.astext(), display="inline" if isinstance(node, nodes.math) else "block"))
    raise nodes.SkipNode


def setup(app: Any) -> None:
    """Called by Sphinx."""
    app.connect("source-read", from_the_checkout)
    app.connect("doctree-read", link_names)
    app.connect("doctree-resolved", link_words)
    app.add_html_math_renderer("mathml", (formula, None), (formula, None))
