"""The sample speech's transcripts: spelled for CTC, and divided without near-duplicates."""

from __future__ import annotations

import collections
import hashlib
import itertools
import re
import unicodedata
from collections.abc import Iterable

DIGITS = ["ZERO", "ONE", "TWO", "THREE", "FOUR", "FIVE", "SIX", "SEVEN", "EIGHT", "NINE"]
MISSPELLED = {
    "EXCLAIMATION": "EXCLAMATION",
    "FOURTIETH": "FORTIETH",
    "INDENTIFIED": "IDENTIFIED",
    "REPRESENATIVES": "REPRESENTATIVES",
    "THRU": "THROUGH",
    "UMUTE": "UNMUTE",
    "WITHELD": "WITHHELD",
}


def normalise_transcript(text: str) -> str:
    """Upper case words of A-Z and apostrophe, digits spelled; "" if the words are not certain.

    Not certain: stage directions, symbols, numbers over 9, host names. "at [@]" is "AT".
    """
    text = re.sub(r" \[.\]$", "", text.strip()).replace("\u2019", "'")
    words = []
    for token in text.replace("-", " ").split():
        token = token.strip(".,;:!?\"'").upper()
        if re.fullmatch(r"[0-9]", token):
            words.append(DIGITS[int(token)])
        elif re.fullmatch(r"([A-Z]\.)+[A-Z]", token):  # A.M.
            words.extend(token.split("."))
        elif re.fullmatch(r"[A-Z']+", token):
            words.append(MISSPELLED.get(token, token))
        elif token:
            return ""
    return " ".join(words)


def normalise_foreign(text: str) -> str:
    """Upper case words of letters (any script, NFC) and apostrophes; "" if they are not certain.

    Not certain, as in English: stage directions, symbols, numbers. Digits too, which these
    languages say in more than one way.
    """
    text = unicodedata.normalize("NFC", text.strip()).replace("\u2019", "'").upper()
    words = []
    for token in re.split(r"[\s\-\u2010-\u2015]+", text):
        token = token.strip(".,;:!?\"'\u00a1\u00bf\u00ab\u00bb\u201c\u201d\u201e\u2026")
        if not all(character.isalpha() or character == "'" for character in token):
            return ""
        words.append(token)
    return " ".join(filter(None, words))


def _alike(a: list[str], b: list[str]) -> bool:
    """Whether two texts share 70 % of the longer one's words, or of all their distinct words."""
    if min(len(a), len(b)) < 0.7 * min(max(len(a), len(b)), len(set(a) | set(b))):
        return False
    shared = (collections.Counter(a) & collections.Counter(b)).total()
    distinct = set(a) | set(b)
    return shared >= 0.7 * max(len(a), len(b)) or len(set(a) & set(b)) >= 0.7 * len(distinct)


def group_transcripts(transcripts: Iterable[str]) -> list[list[str]]:
    """Connected components of equal and near-equal transcripts, in the order of a hash."""
    words = {text: text.split() for text in sorted(set(transcripts))}
    root = {text: text for text in words}

    def find(text: str) -> str:
        while root[text] != text:
            text = root[text]
        return text

    for a, b in itertools.combinations(words, 2):
        if _alike(words[a], words[b]):
            root[find(b)] = find(a)
    groups = collections.defaultdict(list)
    for text in words:
        groups[find(text)].append(text)
    return sorted(groups.values(), key=lambda g: hashlib.sha256(g[0].encode()).digest())


def split_transcripts(transcripts: list[str], seconds: list[float]) -> list[str]:
    """The split of each clip of one language: about 70 % train, 10 % dev, 20 % test of the time.

    Near-equal transcripts stay on one side. Always train: one-word prompts (nobody can spell a
    letter whose name was never heard) and groups over 25 s (one would be a fifth of dev).
    """
    shares = {"train": 0.7, "dev": 0.1, "test": 0.2}
    time_of: dict[str, float] = collections.defaultdict(float)
    for text, length in zip(transcripts, seconds, strict=True):
        time_of[text] += length

    def held_out(group: list[str]) -> bool:
        return all(" " in text for text in group) and sum(time_of[text] for text in group) <= 25

    filled = dict.fromkeys(shares, 0.0)
    side: dict[str, str] = {}
    for group in sorted(group_transcripts(transcripts), key=held_out):  # what must be train first
        names = list(shares) if held_out(group) else ["train"]
        chosen = min(names, key=lambda name: filled[name] / shares[name])
        filled[chosen] += sum(time_of[text] for text in group)
        side |= dict.fromkeys(group, chosen)
    return [side[text] for text in transcripts]
