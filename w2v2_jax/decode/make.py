"""From DecoderSettings to a decoder."""

from __future__ import annotations

import dataclasses
import math
import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from w2v2_jax.decode import engines
from w2v2_jax.decode.alignment import SECONDS_PER_FRAME
from w2v2_jax.decode.beam import (
    INFINITE,
    BeamOptions,
    LexiconDecoder,
    LexiconFreeDecoder,
    check_number,
)
from w2v2_jax.decode.greedy import GreedyDecoder
from w2v2_jax.decode.hypothesis import Decoder
from w2v2_jax.decode.lexicon import as_lexicon
from w2v2_jax.decode.presets import preset
from w2v2_jax.decode.rescore import RescoringDecoder, TransformerLM
from w2v2_jax.decode.search_words import with_hot_words, words_to_search
from w2v2_jax.errors import InputError
from w2v2_jax.errors.absent import why_not_plain
from w2v2_jax.paths import read_json, write_json
from w2v2_jax.vocabulary import BLANK, Vocabulary

KINDS = ("greedy", "beam")


@dataclasses.dataclass(frozen=True)
class DecoderSettings:
    """Everything from which a decoder is made; None or empty means without."""

    kind: str = "greedy"
    lm: str | None = None
    lexicon: str | None = None
    beam: BeamOptions = dataclasses.field(default_factory=BeamOptions)
    hot_words: tuple[tuple[str, float], ...] = ()
    rescore: str | None = None
    rescore_weight: float = 1.0
    rescore_word_score: float = 0.0
    rescore_ngram_weight: float = 0.0
    rescore_case: str = "keep"
    engine: str = engines.AUTO

    def __post_init__(self):
        for name in ("rescore_weight", "rescore_word_score", "rescore_ngram_weight"):
            check_number(f"decoder {name}", getattr(self, name))
        for word, bonus in self.hot_words:
            check_number(f"--hot-word {word}", bonus)


_KINDS = {
    "int": (int,),
    "float": (float, int),
    "bool": (bool,),
    "str": (str,),
    "int | None": (int, type(None)),
    "str | None": (str, type(None)),
}
_BEAM_FIELDS = {field.name for field in dataclasses.fields(BeamOptions)}
_PLAIN_FIELDS = {field.name for field in dataclasses.fields(DecoderSettings)} - {
    "beam",
    "hot_words",
}
_KINDS_OF = {
    field.name: _KINDS[str(field.type)]
    for kind, names in ((BeamOptions, _BEAM_FIELDS), (DecoderSettings, _PLAIN_FIELDS))
    for field in dataclasses.fields(kind)
    if field.name in names
}


def save_settings(path: Path, values: Mapping[str, Any], **report: Any) -> None:
    """Writes settings for `read_settings`, with a report beside them that it does not read."""
    # An infinite bound means no bound, as does an absent one.
    bounds = {k: v for k, v in values.items() if not (isinstance(v, float) and math.isinf(v))}
    write_json(path, {"settings": bounds, **report})


def read_settings(path: str) -> dict[str, Any]:
    """What `save_settings` wrote; InputError names the file and what is wrong with it."""
    try:
        values = dict(read_json(path)["settings"].items())
        unknown = set(values) - _BEAM_FIELDS - _PLAIN_FIELDS
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise InputError(f"--decoder-settings {path}: not what `sweep` writes: {error}") from error
    if unknown:
        raise InputError(f"--decoder-settings {path}: unknown settings {', '.join(unknown)}")
    for name, value in values.items():
        if type(value) not in _KINDS_OF[name]:
            wanted = " or ".join(kind.__name__ for kind in _KINDS_OF[name])
            raise InputError(f"--decoder-settings {path}: {name}={value!r} must be {wanted}")
        if float in _KINDS_OF[name]:
            check_number(f"--decoder-settings {path}: {name}", value, INFINITE.get(name, 0.0))
    return values


def settings(
    options: Mapping[str, Any], *, preset_name: str | None = None, file: str | None = None
) -> DecoderSettings:
    """Merges defaults, a preset, a settings file and the given options; later ones win."""
    merged = {**(preset(preset_name) if preset_name else {})}
    merged |= read_settings(file) if file else {}
    merged |= {name: value for name, value in options.items() if value is not None}
    if "kind" not in merged:
        wants = {"lm", "lexicon", "rescore", "hot_words", "lm_weight", "engine"} & set(merged)
        merged["kind"] = "beam" if wants else "greedy"
    if merged["kind"] not in KINDS:
        raise InputError(f"--decoder {merged['kind']!r} is unknown; use {', '.join(KINDS)}")
    beam = {name: merged.pop(name) for name in _BEAM_FIELDS & set(merged)}
    chosen = DecoderSettings(**merged, beam=BeamOptions(**beam))
    if chosen.kind == "greedy" and (
        chosen.lm or chosen.lexicon or chosen.rescore or chosen.hot_words
    ):
        raise InputError(
            "--decoder greedy takes no --lm, --lexicon, --hot-word or --rescore; use --decoder beam"
        )
    if chosen.kind == "greedy" and "engine" in merged:
        raise InputError("--decoder greedy takes no --engine; use --decoder beam")
    return chosen


def check_files(chosen: DecoderSettings) -> None:
    """Raises InputError if a model or lexicon of the settings does not exist."""
    for name, path in (("lm", chosen.lm), ("lexicon", chosen.lexicon)):
        if path is not None and (reason := why_not_plain(path)):
            raise InputError(f"--{name} {path}: {reason}")
    if chosen.rescore is not None and not os.path.isdir(chosen.rescore):
        raise InputError(f"--rescore {chosen.rescore}: there is no such folder")


def _with_engine(chosen: DecoderSettings) -> DecoderSettings:
    """The settings with the engine that runs; says so where flashlight is not installed."""
    name = engines.resolve(chosen.engine)
    if chosen.engine == engines.AUTO and name == "numpy":
        print(
            "beam search by numpy, as flashlight-text and KenLM are not installed: the same "
            "results, slower",
            file=sys.stderr,
        )
    return dataclasses.replace(chosen, engine=name)


def make(
    chosen: DecoderSettings, vocabulary: Vocabulary, *, seconds_per_frame: float = SECONDS_PER_FRAME
) -> Decoder:
    """The decoder of some settings, its models loaded. Raises InputError when they cannot be."""
    common: dict[str, Any] = {"blank": BLANK, "seconds_per_frame": seconds_per_frame}
    if chosen.kind == "greedy":
        return GreedyDecoder(vocabulary.symbols, units=vocabulary.units, **common)
    check_files(chosen)
    chosen = _with_engine(chosen)
    common["engine"] = chosen.engine
    entries = words_to_search(
        vocabulary, lm=chosen.lm, lexicon=chosen.lexicon, engine=chosen.engine
    )
    decoder: Decoder
    if entries is None:
        if chosen.hot_words:
            raise InputError("--hot-word needs --lexicon or a model of words (--lm)")
        decoder = LexiconFreeDecoder(
            vocabulary.symbols, chosen.lm, chosen.beam, units=vocabulary.units, **common
        )
    else:
        entries, hot = with_hot_words(entries, chosen.hot_words, vocabulary)
        decoder = LexiconDecoder(
            vocabulary.symbols,
            chosen.lm,
            as_lexicon(entries),
            chosen.beam,
            hot,
            units=vocabulary.units,
            **common,
        )
    if chosen.rescore:
        decoder = RescoringDecoder(
            decoder,
            TransformerLM(chosen.rescore, chosen.rescore_case),
            chosen.rescore_weight,
            chosen.rescore_word_score,
            chosen.rescore_ngram_weight,
            chosen.beam.nbest,
        )
    decoder.prepare()
    return decoder
