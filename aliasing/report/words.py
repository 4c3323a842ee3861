"""The glossary on the page: a word that it uses leads to what it means, without a network."""

import re
from functools import cached_property
from importlib import resources

from markupsafe import Markup, escape

__all__ = ["Words", "breakable", "glossary"]


def glossary() -> dict[str, str]:
    """Heading → meaning, from ``glossary.md``, a page of the documentation too; a comma separates synonyms."""
    text = resources.files("aliasing.report").joinpath("glossary.md").read_text(encoding="utf-8")
    entries = (entry.partition("\n") for entry in text.split("\n## ")[1:])
    return {heading: " ".join(meaning.split()) for heading, _, meaning in entries}


def breakable(text: str) -> Markup:
    """A network's name, or another long word, that a narrow column breaks between its parts.

    Examples
    --------
    >>> str(breakable("file:net.pth@module:nets:net"))
    'file:<wbr>net.pth@<wbr>module:<wbr>nets:<wbr>net'
    """
    return Markup(re.sub(r"([:@/])(?=\w)", r"\1<wbr>", str(escape(text))))


class Words:
    """Links from words to their meanings, each once a section; remembers which are used.

    Examples
    --------
    >>> words = Words()
    >>> str(words.linked("MAC by shift, <95 %"))
    '<a class="word" href="#word-mac">MAC</a> by shift, &lt;95 %'
    >>> [heading for _, heading, _ in words.used]
    ['MAC, mean absolute change']
    """

    def __init__(self) -> None:
        self._meanings = glossary()
        self._of = {word.lower(): heading for heading in self._meanings for word in heading.split(", ")}
        self._seen: set[str] = set()
        self._linked: set[str] = set()

    def begin_section(self) -> str:
        """Link each word anew; nothing, as the template writes it."""
        self._linked = set()
        return ""

    @cached_property
    def _pattern(self) -> re.Pattern[str]:
        longest_first = sorted(self._of, key=len, reverse=True)
        return re.compile(rf"(?<!\w)(?:{'|'.join(map(re.escape, longest_first))})(?!\w)", re.IGNORECASE)

    def linked(self, text: str) -> Markup:
        """A text in which each word, where the section first has it, is a link to its meaning."""
        return self._marked(text, '<a class="word" href="#{0}">{1}</a>', self._linked)

    def told(self, text: str) -> Markup:
        """A text in which each word carries its meaning, for where there can be no link."""
        return self._marked(text, '<abbr title="{2}">{1}</abbr>', set())

    @property
    def used(self) -> list[tuple[str, str, str]]:
        """The anchor, heading and meaning of every word so far, in the glossary's order."""
        return [(_anchor(h), h, _without_markup(text)) for h, text in self._meanings.items() if h in self._seen]

    def _marked(self, text: str, form: str, marked: set[str]) -> Markup:
        parts, end = [Markup()], 0
        for match in self._pattern.finditer(text):
            heading = self._of[match[0].lower()]
            if heading in marked:
                continue
            marked.add(heading)
            self._seen.add(heading)
            meaning = _without_markup(self._meanings[heading])
            parts += [escape(text[end : match.start()]), Markup(form).format(_anchor(heading), match[0], meaning)]
            end = match.end()
        return Markup().join([*parts, escape(text[end:])])


def _without_markup(meaning: str) -> str:
    return meaning.replace("*", "").replace("`", "")


def _anchor(heading: str) -> str:
    return "word-" + re.sub(r"[^a-z0-9]+", "-", heading.partition(", ")[0].lower()).strip("-")
