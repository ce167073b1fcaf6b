"""The symbols of the head in steps that are compiled or timed without a corpus."""

from __future__ import annotations

from typing import NamedTuple

from w2v2_jax.errors import InputError
from w2v2_jax.experiment.settings import ExperimentSettings
from w2v2_jax.objectives.classes import Classes
from w2v2_jax.vocabulary import EXTEND, FROM_TRANSCRIPTS, Vocabulary, make_vocabulary
from w2v2_jax.vocabulary.units import PHONEMES

OF_TRANSCRIPTS = (FROM_TRANSCRIPTS, PHONEMES, EXTEND)


class HeadSymbols(NamedTuple):
    """note: that they are not the configuration's, and why; else ""."""

    vocabulary: Vocabulary | Classes | None
    note: str = ""


def head_symbols(settings: ExperimentSettings) -> HeadSymbols:
    """Those of vocabulary.name where its file can be read; `usual_vocabulary` stands for those that
    are made of transcripts, come from init_from, or whose file is on another machine."""
    usual, chosen = settings.usual_vocabulary(), settings.vocabulary
    if isinstance(usual, Classes):
        return HeadSymbols(
            usual,
            f"note: the classes are the different transcripts; {len(usual)} stand for them in the "
            "head",
        )
    if not isinstance(usual, Vocabulary):
        return HeadSymbols(usual)
    if settings.init_from and "vocabulary" not in settings.raw:
        return HeadSymbols(
            usual,
            f"note: config.init_from={settings.init_from} gives the head its symbols, if it has "
            f"some; the usual {len(usual)} stand for them",
        )
    reason = "depends on the transcripts"
    if chosen.name not in OF_TRANSCRIPTS:
        try:
            return HeadSymbols(make_vocabulary(chosen.name, case=chosen.case))
        except InputError as error:
            reason = f"cannot be read ({error})"
    return HeadSymbols(
        usual,
        f"note: config.vocabulary.name={chosen.name} {reason}; the usual {len(usual)} symbols "
        "stand for it in the head",
    )
