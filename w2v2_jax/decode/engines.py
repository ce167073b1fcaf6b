"""The two programs of beam search, by name; both give the same hypotheses and scores."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from w2v2_jax.decode import flashlight, numpy_engine
from w2v2_jax.errors import InputError

AUTO = "auto"
ENGINES: dict[str, Any] = {"flashlight": flashlight, "numpy": numpy_engine}


def resolve(name: str) -> str:
    """The name of an engine; `auto` is flashlight if it is installed, else numpy."""
    if name == AUTO:
        return "flashlight" if flashlight.installed() else "numpy"
    if name not in ENGINES:
        raise InputError(f"--engine {name!r} is unknown; use {', '.join((AUTO, *ENGINES))}")
    return name


def check_words(engine: Any, path: str | None, words: Sequence[str]) -> None:
    """Raises InputError if the model has none of the words, as happens with the wrong case."""
    if path is not None and not engine.known_words(path, words):
        raise InputError(
            f"{path}: the language model has none of the lexicon's {len(words)} words, such as "
            f"{words[0]!r}; is one of them in another case?"
        )
