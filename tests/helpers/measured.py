"""What a page of results must say about its tables: the date, device, commit and command."""

from __future__ import annotations

import re
from pathlib import Path
from typing import NamedTuple

NEEDED = {
    "date": re.compile(r"\b20\d\d-\d\d-\d\d\b"),
    "device": re.compile(r"\b(CPUs?|cores?|EPYC|Xeon|AMD|Intel|H200|GPU|libtpu)\b"),
    "commit": re.compile(r"\bcommits?\s+[0-9a-f]{7}\b|\bat\s+the\s+commit\s+that\s+adds\b"),
    "command": re.compile(
        r"(?:^ *|`)(w2v2\s|bash\s+launch/|python\s+-m\s|pytest\s)|\b(measured|run)\s+by\s+hand\b",
        re.MULTILINE,
    ),
}
HEADING = re.compile(r"^#+ +(.*)$")


class Section(NamedTuple):
    heading: str
    prose: str  # all of it but the tables
    tables: str


def sections(page: Path) -> list[Section]:
    """The introduction, then each section up to the next heading of any level."""
    found: list[tuple[str, list[str], list[str]]] = [("", [], [])]
    in_code = False
    for line in page.read_text().splitlines():
        in_code ^= line.startswith("```")
        heading = None if in_code else HEADING.match(line)
        if heading and len(heading[0].split()[0]) > 1:
            found.append((heading[1], [], []))
        table = line.startswith("|") and not in_code
        found[-1][2 if table else 1].append(line)
    return [Section(name, "\n".join(prose), "\n".join(rows)) for name, prose, rows in found]


def missing(text: str) -> list[str]:
    return [thing for thing, pattern in NEEDED.items() if not pattern.search(text)]


def unsourced(page: Path) -> list[str]:
    """As "HEADING: no commit" for all that a table's section and the introduction both lack."""
    introduction, *rest = sections(page)
    return [
        f"{section.heading or 'introduction'}: no {thing}"
        for section in (introduction, *rest)
        if re.search(r"\d", section.tables)
        for thing in missing(f"{introduction.prose}\n{section.prose}")
    ]
