"""Whether a run goes on with the objective and the symbols that it was started with."""

from __future__ import annotations

import itertools
import os

from w2v2_jax.checkpoint.description import Description
from w2v2_jax.errors import InputError
from w2v2_jax.experiment.settings import ExperimentSettings
from w2v2_jax.vocabulary import make_vocabulary
from w2v2_jax.vocabulary.make import file_of
from w2v2_jax.vocabulary.pronunciations import differing


def check_resumed(settings: ExperimentSettings, before: Description, *, workdir: str) -> None:
    """Raises InputError if the checkpoint from which a run resumes is of another objective, or if
    the file that config.vocabulary.name names now has other symbols or pronunciations, with which
    the run would not go on. The file may be gone."""
    if before.objective != settings.kind:
        raise InputError(
            f"--workdir {workdir} was started with another config.objective.name: "
            f"{before.objective} there, {settings.kind} now; use a new --workdir"
        )
    name = settings.vocabulary.name
    if "vocabulary" not in settings.raw or before.vocabulary is None:
        return
    if not os.path.exists(file_of(name)):
        return
    made = make_vocabulary(name, case=settings.vocabulary.case)
    now, there = made.symbols, before.vocabulary.symbols
    if now != there:
        rows = (i for i, pair in enumerate(itertools.zip_longest(there, now)) if len({*pair}) > 1)
        row = next(rows)
        ours, theirs = (repr(s[row]) if row < len(s) else "none" for s in (now, there))
        raise InputError(
            f"config.vocabulary.name={name} has other symbols than when --workdir {workdir} was "
            f"started: {len(there)} there, {len(now)} now; symbol {row} {theirs} there, {ours} "
            "now; put the file back, or use a new --workdir"
        )
    if told := differing(made.pronunciations, before.ctc_vocabulary.pronunciations):
        raise InputError(
            f"config.vocabulary.name={name} has other pronunciations than when --workdir {workdir} "
            f"was started: {told}; put the file back, or use a new --workdir"
        )
    stored = before.ctc_vocabulary
    for what in ("case", "model"):
        if getattr(made, what) != getattr(stored, what):
            raise InputError(
                f"config.vocabulary.name={name} has another {what} than when --workdir {workdir} "
                "was started; put the file back, or use a new --workdir"
            )
