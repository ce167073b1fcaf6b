"""What a decoder's texts are scored against, and a warning where the two differ in case alone."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Iterable

from w2v2_jax.decode.hypothesis import Decoder
from w2v2_jax.vocabulary import Vocabulary


def references_of(texts: Iterable[str], vocabulary: Vocabulary, decoder: Decoder) -> list[str]:
    """The texts as what the decoder writes is scored against them (`Vocabulary.reference`). Prints
    one line if more of their words are among a search's words in another case only, where each of
    them counts as an error, than in the same."""
    references = [vocabulary.reference(text, words=decoder.writes_words) for text in texts]
    _tell_other_case(decoder, references, vocabulary)
    return references


def _tell_other_case(decoder: Decoder, references: list[str], vocabulary: Vocabulary) -> None:
    if not decoder.writes_words:
        return
    said = Counter(word for reference in references for word in reference.split())
    written = set(decoder.lexicon_words)
    if 2 * sum(n for word, n in said.items() if word in written) >= said.total():
        return
    written = {vocabulary.as_scored(word) for word in written}
    folded = {word.casefold() for word in written}
    other = [word for word in said if word not in written and word.casefold() in folded]
    lost = sum(said[word] for word in other)
    if lost > sum(n for word, n in said.items() if word in written):
        print(
            f"warning: {lost} of {said.total()} words of the references, such as {other[0]!r}, are "
            "in another case in --lm or --lexicon, and every one counts as an error; make these of "
            "texts in the case of the transcripts",
            file=sys.stderr,
        )
