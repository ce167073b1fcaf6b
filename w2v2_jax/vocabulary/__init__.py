"""The symbols of a CTC model and their ids, and how a text splits into them."""

from w2v2_jax.vocabulary.make import (
    EXTEND,
    FROM_TRANSCRIPTS,
    LIBRISPEECH,
    VOCABULARIES,
    build_vocabulary,
    extend_vocabulary,
    load_vocabulary,
    lost_by_case,
    make_vocabulary,
    shared_rows,
)
from w2v2_jax.vocabulary.symbols import (
    BLANK,
    BOUNDARY,
    LACKING,
    SPECIALS,
    UNKNOWN,
    Vocabulary,
)
from w2v2_jax.vocabulary.units import count_characters

__all__ = [
    "BLANK", "BOUNDARY", "EXTEND", "FROM_TRANSCRIPTS", "LACKING", "LIBRISPEECH", "SPECIALS",
    "UNKNOWN", "VOCABULARIES", "Vocabulary", "build_vocabulary", "count_characters",
    "extend_vocabulary", "load_vocabulary", "lost_by_case", "make_vocabulary", "shared_rows",
]  # fmt: skip
