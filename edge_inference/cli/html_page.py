"""Parts of an HTML page that needs nothing else: no script, no font, no network."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from html import escape

_STYLE = """
body { font: 15px/1.45 sans-serif; color: #1b1f24; margin: 2rem auto; max-width: 64rem; }
table { border-collapse: collapse; margin: .6rem 0 1.2rem; }
th, td { padding: .2rem .7rem; border-bottom: 1px solid #d5d9de; text-align: right; }
th:first-child, td:first-child { text-align: left; }
h2 { margin-top: 2rem; } .warning { color: #9a5b00; } .problem { color: #b3261e; }
.facts td { text-align: left; } svg { max-width: 100%; height: auto; }
"""


def format_page(title: str, parts: Iterable[str]) -> str:
    """Return the whole page; ``parts`` are HTML, ``title`` is text."""
    head = [
        '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">',
        f"<title>{escape(title)}</title>\n<style>{_STYLE}</style>\n</head>\n<body>",
        f"<h1>{escape(title)}</h1>",
    ]
    return "\n".join([*head, *parts, "</body>\n</html>\n"])


def format_table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Return a table of texts."""
    lines = ["<table>", "<tr>" + "".join(f"<th>{escape(each)}</th>" for each in head) + "</tr>"]
    lines += [
        "<tr>" + "".join(f"<td>{escape(each)}</td>" for each in row) + "</tr>" for row in rows
    ]
    return "\n".join([*lines, "</table>"])


def format_facts(facts: Mapping[str, str]) -> str:
    """Return a table of facts by name."""
    rows = "".join(
        f"<tr><td>{escape(name)}</td><td>{escape(value)}</td></tr>" for name, value in facts.items()
    )
    return f"<table class='facts'>{rows}</table>"


def format_list(lines: Sequence[str]) -> str:
    """Return a list of texts; empty without lines."""
    return "<ul>" + "".join(f"<li>{escape(line)}</li>" for line in lines) + "</ul>" if lines else ""
