"""References to docs/traps.md lead to an entry, and its entries name tests that exist."""

import re
from collections import Counter
from pathlib import Path

import pytest

from tests.helpers.docs_commands import ROOT

PAGE = ROOT / "docs/traps.md"
PLACES = ("w2v2_jax", "tests", "experiments", "docs", "launch")
ENDINGS = (".py", ".md", ".sh", ".yaml", ".sbatch")
# Notes that a reader of this repository does not have; an entry has a link instead.
PRIVATE = r"\b(?:traps? T\d|complaints? U\d|dossier)|\([TU]\d{1,2}\)"


def texts() -> list[Path]:
    found = [p for place in PLACES for p in (ROOT / place).rglob("*") if p.suffix in ENDINGS]
    return [ROOT / "README.md", *sorted(set(found) - {Path(__file__)})]


def anchors(page: str) -> list[str]:
    return re.findall(r'<a id="([^"]+)"></a>', page)


def lost(text: str, known: set[str]) -> list[str]:
    """References to entries that the page has not."""
    return [name for name in re.findall(r"traps\.md#([\w-]+)", text) if name not in known]


def private(text: str) -> list[str]:
    return re.findall(PRIVATE, text, re.IGNORECASE)


def test_every_reference_to_a_trap_leads_to_its_entry():
    known = set(anchors(PAGE.read_text()))
    found = {path.name: lost(path.read_text(), known) for path in texts()}
    assert {name: names for name, names in found.items() if names} == {}
    in_code = [p for p in texts() if p.suffix == ".py" and "traps.md#" in p.read_text()]
    assert len(in_code) > 15  # the references are where they are looked for


def test_every_anchor_is_unique_and_stands_before_its_heading():
    page = PAGE.read_text()
    assert [name for name, count in Counter(anchors(page)).items() if count > 1] == []
    headings = re.findall(r'^<a id="(\w+)"></a>\n\n### ([TU]\d+): ', page, re.MULTILINE)
    assert [name for name, _ in headings] == anchors(page)
    assert [title.lower() for _, title in headings] == anchors(page)


def test_the_table_of_contents_lists_every_entry_with_its_title():
    page = PAGE.read_text()
    listed = re.findall(r"^- \[([TU]\d+)\]\(#(\w+)\) (.+)$", page, re.MULTILINE)
    entries = re.findall(r"^### ([TU]\d+): (.+)$", page, re.MULTILINE)
    assert listed == [(name, name.lower(), title) for name, title in entries]


def test_every_entry_says_what_happens_here_and_where_it_is_from():
    entries = re.split(r"^<a id=.*$", PAGE.read_text(), flags=re.MULTILINE)[1:]
    for entry in entries:
        title = entry.strip().splitlines()[0]
        assert entry.count("**Here.**") == entry.count("*Source:*") == 1, title


def test_the_tests_that_entries_name_exist():
    named = set(re.findall(r"`(test_\w+)`", PAGE.read_text()))
    code = "\n".join(path.read_text() for path in (ROOT / "tests").rglob("test_*.py"))
    assert named - set(re.findall(r"^def (test_\w+)", code, re.MULTILINE)) == set()
    assert len(named) > 50


def test_every_issue_that_is_cited_has_its_address():
    page = PAGE.read_text()
    cited = set(re.findall(r"\[([\w-]+#\d+)\](?!:)", page))
    assert cited == set(re.findall(r"^\[([\w-]+#\d+)\]: https://", page, re.MULTILINE))


def test_no_text_refers_to_notes_that_are_not_here():
    found = {path.name: private(path.read_text()) for path in texts()}
    assert {name: words for name, words in found.items() if words} == {}


@pytest.mark.parametrize(
    "text",
    ["# trap T14", "(traps T2, T3)", "(complaint U20)", "as the dossier says", "start (T8)."],
)
def test_a_reference_to_private_notes_would_be_found(text):
    assert private(text)


def test_a_reference_to_no_entry_would_be_found():
    assert lost("see docs/traps.md#t14 and [T99](traps.md#t99)", {"t14"}) == ["t99"]
