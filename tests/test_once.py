"""Nothing is said twice in the package: no run of six lines of code stands in two places."""

import ast
from collections import defaultdict
from pathlib import Path

import aliasing

LINES = 6
PACKAGE = Path(aliasing.__file__).parent
Place = tuple[str, int]


def code(text: str) -> list[tuple[int, str]]:
    """The lines of code by number: without blank lines, comments, docstrings, imports, decorators and signatures."""
    left_out: set[int] = set()
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Import | ast.ImportFrom):
            left_out.update(range(node.lineno, node.end_lineno + 1))
        elif isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef):
            first = node.body[0] if node.body else None
            if isinstance(first, ast.Expr) and isinstance(first.value, ast.Constant):
                left_out.update(range(first.lineno, first.end_lineno + 1))
            if isinstance(node, ast.FunctionDef):
                start = min([node.lineno, *(decorator.lineno for decorator in node.decorator_list)])
                left_out.update(range(start, max(first.lineno, start + 1)))
    lines = enumerate(map(str.strip, text.splitlines()), 1)
    return [(number, line) for number, line in lines if number not in left_out and line and not line.startswith("#")]


def repeated(texts: dict[str, str], length: int = LINES) -> list[list[Place]]:
    """The places of each run of ``length`` lines that occurs more than once; a longer run is reported at its start."""
    places: dict[tuple[str, ...], list[tuple[str, int, int]]] = defaultdict(list)
    for name, text in texts.items():
        lines = code(text)
        for index in range(len(lines) - length + 1):
            run = tuple(line for _, line in lines[index : index + length])
            places[run].append((name, index, lines[index][0]))
    several = [found for found in places.values() if len(found) > 1]
    known = {tuple((name, index + 1) for name, index, _ in found) for found in several}
    return [
        [(name, number) for name, _, number in found]
        for found in several
        if tuple((name, index) for name, index, _ in found) not in known
    ]


def test_no_six_lines_stand_in_two_places() -> None:
    texts = {str(file.relative_to(PACKAGE)): file.read_text("utf-8") for file in PACKAGE.rglob("*.py")}
    assert len(texts) > 100
    assert repeated(texts) == []


def test_a_run_is_found_where_it_stands() -> None:
    body = "".join(f"    x{number} = {number}\n" for number in range(LINES))
    one = f'"""One."""\nimport os\n\ndef one(a,\n        b):\n    """Docstring."""\n{body}'
    other = f"import os\n\nclass Other:\n    # a comment\n    y = 1\n{body}"
    assert repeated({"one": one, "other": other}) == [[("one", 7), ("other", 6)]]
    assert repeated({"one": one, "other": other.replace("x3", "z")}) == []
