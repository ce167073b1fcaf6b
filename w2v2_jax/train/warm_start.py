"""A run's start from another checkpoint: vocabulary, parameters, and the head symbol by symbol."""

from __future__ import annotations

import dataclasses
import unicodedata
from collections.abc import Iterable, Iterator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from w2v2_jax.checkpoint.description import Description, Loaded
from w2v2_jax.data.feed import Feed
from w2v2_jax.data.joined import rules_name, without_name
from w2v2_jax.data.mixture import open_members, spelled
from w2v2_jax.data.transcribed import all_texts, none_transcribed, outside_vocabulary
from w2v2_jax.errors import InputError, counted
from w2v2_jax.experiment.settings import ExperimentSettings, VocabularyConfig
from w2v2_jax.objectives.classes import Classes, classes_of
from w2v2_jax.paths import SPLIT
from w2v2_jax.system import hosts
from w2v2_jax.texts.rules import TextRules
from w2v2_jax.train.start_check import SMOKE
from w2v2_jax.trees import name_of
from w2v2_jax.vocabulary import (
    EXTEND,
    FROM_TRANSCRIPTS,
    SPECIALS,
    VOCABULARIES,
    Vocabulary,
    extend_vocabulary,
    lost_by_case,
    make_vocabulary,
    shared_rows,
)
from w2v2_jax.vocabulary.coverage import coverage
from w2v2_jax.vocabulary.make import with_rules
from w2v2_jax.vocabulary.units import CHARACTERS, PHONEMES

FRESH = ("/layers/adapter/", "/attention/lora_", "/output_adapter/")  # what a start need not have


def graft(
    params, source, *, where: str, rows: tuple[int | None, ...] | None = None
) -> tuple[Any, list[str]]:
    """Copies a source's parameters into `params` where both have them; lists the others.

    The encoder must be complete, except adapters and LoRA's updates. rows: for each of our CTC
    symbols the row of the source's head that has it, None for a symbol it lacks; without `rows` the
    head is copied unchanged. Raises InputError for a missing tensor, another shape, or a tensor of
    the encoder that `params` lacks: otherwise adapters or LoRA's updates would be lost silently.
    Abstract `params` (a dry run's) are checked alike and stay as they are.
    """
    flat = {name_of(p): x for p, x in jax.tree_util.tree_leaves_with_path(source)}
    fresh = []
    places = {name_of(p) for p, _ in jax.tree_util.tree_leaves_with_path(params)}
    lost = sorted(name for name in set(flat) - places if name.startswith("encoder/"))
    if lost:
        raise InputError(
            f"{where} has {lost[0]}, for which the model has no place; take its network "
            "(config.model.family=inherit, with its adapter_dim and lora_rank), or export it "
            f"first: --to hf adds LoRA's updates to the weights; {SMOKE}"
        )

    def abstract(leaf) -> bool:
        return isinstance(leaf, jax.ShapeDtypeStruct)

    def take(path, leaf):
        name = name_of(path)
        if name not in flat:
            if name.startswith("encoder/") and not any(part in name for part in FRESH):
                raise InputError(f"{where} has no {name}; is it a wav2vec 2.0 encoder?")
            fresh.append(name)
            return leaf
        by_rows = rows is not None and name.startswith(("head/", "classifier/"))
        compared = slice(-1) if by_rows else slice(None)
        if flat[name].shape[compared] != leaf.shape[compared]:
            raise InputError(
                f"{where}: {name} is {flat[name].shape}, the model has {leaf.shape}; {SMOKE}"
            )
        if abstract(leaf):
            return leaf
        if by_rows:
            return take_rows(leaf, flat[name], rows)
        return jax.device_put(flat[name].astype(leaf.dtype), leaf.sharding)

    return jax.tree_util.tree_map_with_path(take, params), fresh


def take_rows(leaf: jax.Array, source, rows: tuple[int | None, ...]) -> jax.Array:
    """leaf [..., C] with the entries of source [..., C'] that `rows` names; others unchanged."""
    known = np.array([row is not None for row in rows]).reshape((1,) * (leaf.ndim - 1) + (-1,))
    taken = np.asarray(source)[..., np.array([row or 0 for row in rows])].astype(leaf.dtype)
    choose = lambda leaf, taken: jnp.where(known, taken, leaf)  # noqa: E731
    return jax.jit(choose, out_shardings=leaf.sharding)(leaf, taken)


def choose_vocabulary(
    settings: ExperimentSettings, inherited: Vocabulary | Classes | None
) -> Vocabulary | Classes | None:
    """The vocabulary of a run, None if its objective needs none; a tuned start keeps its own,
    or adds the transcripts' further characters to it ("extend"). A classifier's classes are the
    different transcripts."""
    if not settings.objective_class.needs_vocabulary:
        return None
    if settings.objective_class.class_labels:
        if "vocabulary" in settings.raw:
            raise InputError(
                "config.vocabulary is for CTC; a classifier's classes are the training transcripts"
            )
        return classes_of(_training_texts(settings))
    if isinstance(inherited, Classes):
        inherited = None
    chosen = settings.vocabulary
    extends = chosen.name == EXTEND
    if inherited is None and extends:
        raise InputError(
            "config.vocabulary.name='extend' needs config.init_from to be a tuned checkpoint; "
            "use 'from_transcripts'"
        )
    rules = training_rules(settings)
    if inherited is not None and "vocabulary" not in settings.raw:
        return with_rules(inherited, rules, where=f"config.init_from={settings.init_from}")
    if inherited is not None and extends:
        texts = _training_texts(settings)
        old = with_rules(inherited, rules, where=f"config.init_from={settings.init_from}")
        return _in_case(chosen, extend_vocabulary(old, texts, min_count=chosen.min_count))
    transcribed = chosen.name in (FROM_TRANSCRIPTS, PHONEMES)
    transcripts = _training_texts(settings) if transcribed else ()
    made = make_vocabulary(
        chosen.name, transcripts, case=chosen.case, min_count=chosen.min_count, rules=rules
    )
    if chosen.min_count > 1 and not transcribed:
        hosts.log_on_chief(
            f"note: config.vocabulary.min_count={chosen.min_count} changes nothing: the symbols of "
            f"vocabulary.name={chosen.name} do not depend on how often transcripts have them"
        )
    return _in_case(chosen, made)


def _in_case(chosen: VocabularyConfig, vocabulary: Vocabulary) -> Vocabulary:
    """Raises InputError for a case that the vocabulary, which has its own, would not take."""
    if chosen.case not in (None, vocabulary.case):
        raise InputError(
            f"config.vocabulary.case={chosen.case}: the vocabulary {chosen.name!r} has the case "
            f"{vocabulary.case}; leave it out, or use config.vocabulary.name='from_transcripts'"
        )
    return vocabulary


def training_rules(settings: ExperimentSettings) -> TextRules | None:
    """The text rules that the training corpus was prepared with."""
    corpus = open_members(settings.data.train).corpus
    if corpus.text_rules is None:
        return None
    return TextRules.from_json(corpus.text_rules, where=str(corpus.directory / SPLIT))


def _training_texts(settings: ExperimentSettings) -> Iterator[str]:
    """The training transcripts; InputError if there is none."""
    corpus = open_members(settings.data.train).corpus
    if not corpus.has_text:
        raise InputError(
            f"config.data.train={spelled(settings.data.train)}: {none_transcribed(len(corpus))}"
        )
    return (text for text in corpus.texts() if text)


def take_epsilon(settings: ExperimentSettings, start: Description | None) -> ExperimentSettings:
    """The settings with the epsilon of the input's normalisation from the run's own checkpoint or
    from init_from, if the configuration does not set it."""
    if settings.data.normalise_epsilon is not None or start is None:
        return settings
    data = dataclasses.replace(settings.data, normalise_epsilon=start.normalise_epsilon)
    return dataclasses.replace(settings, data=data)


def warm_start(params, source: Loaded, vocabulary: Any, *, where: str):
    """The parameters with those of the source. A CTC head is copied symbol by symbol, a
    classifier's class by class."""
    rows: Any = None
    old: Any = source.description.vocabulary
    alike = type(vocabulary) is type(old)
    if alike and vocabulary is not None and vocabulary.symbols != old.symbols:
        rows = shared_rows(vocabulary, old)
    params, fresh = graft(params, source.params, where=where, rows=rows)
    hosts.log_on_chief(f"started from {source.path}; initialised: {', '.join(fresh) or 'nothing'}")
    if rows is not None and vocabulary is not None and old is not None:
        new = [s for s, row in zip(vocabulary.symbols, rows, strict=True) if row is None]
        dropped = [s for s in old.symbols if s not in vocabulary.symbols]
        hosts.log_on_chief(
            f"head: {len(rows) - len(new)} symbols keep their weights; initialised: "
            f"{' '.join(new) or 'none'}; dropped: {' '.join(dropped) or 'none'}"
        )
        if isinstance(vocabulary, Vocabulary):
            report_case(vocabulary, old, where=where)
    return params


def report_case(vocabulary: Vocabulary, old: Vocabulary, *, where: str) -> None:
    """Warns of symbols whose weights are lost only because the start has them in another case."""
    lost, case = lost_by_case(vocabulary, old)
    if lost:
        hosts.log_on_chief(
            f"warning: {counted(len(lost), 'symbol')} ({' '.join(lost[:10])}) would keep the "
            f"weights that {where} has for another case of them; --config.vocabulary.case={case} "
            "does so for a vocabulary that is made from transcripts"
        )


def report_left_out(train: Feed, valid: Feed | None) -> None:
    """Prints, before step 0, how many utterances labelled training and validation use."""
    hosts.log_on_chief(f"train {spelled(train.config.train)}: {train.used()}")
    if valid is not None:
        hosts.log_on_chief(f"valid {spelled(valid.config.valid)}: {valid.used()}")


def report_texts(train: Feed, valid: Feed | None) -> None:
    """Prints, before step 0, the text rules in use, and warns of symbols that are not spoken but
    that the model learns to write."""
    rules, units = train.symbols.rules, train.symbols.units
    if rules is not None:
        hosts.log_on_chief(f"texts: --text {rules.name} of prepare is applied to every text")
    elif units == CHARACTERS and (odd := unspoken(train.symbols.symbols[len(SPECIALS) :])):
        hosts.log_on_chief(
            f"warning: the vocabulary has symbols that are not spoken ({' '.join(odd[:10])}); "
            "prepare --text english or unicode:LANGUAGE turns transcripts into spoken words"
        )
    for name, feed in (("train", train), ("valid", valid)):
        if feed is None or rules is None or feed.corpus.text_rules is None:
            continue
        if without_name(feed.corpus.text_rules) != without_name(rules.to_json()):
            hosts.log_on_chief(
                f"warning: {name} {feed.corpus.directory} was prepared with --text "
                f"{rules_name(feed.corpus)}; the rules {rules.name} are applied to its texts here"
            )


def unspoken(symbols: Iterable[str]) -> list[str]:
    """Digits, punctuation and signs among symbols, the apostrophe apart."""
    return sorted(c for c in symbols if c != "'" and unicodedata.category(c)[0] in "NPS")


def report_unknown(feed: Feed) -> None:
    """Warns of what the vocabulary lacks of transcripts, before step 0 (docs/traps.md#u20). Texts
    that are no class were left out, and counted."""
    if isinstance(feed.symbols, Classes):
        return
    texts = all_texts(feed.corpus)  # what is missing most may be all that a clip has
    covered = coverage(texts, feed.symbols)
    if not covered.unknown:
        return
    remedy = ""
    if (dropped := outside_vocabulary(feed.corpus)) > 0:
        remedy = f"; {dropped} of {len(texts)} utterances have nothing else and are left out"
    english = feed.symbols.symbols == VOCABULARIES["librispeech"].symbols
    if english and any(map(str.isalpha, covered.unknown)):
        remedy += (
            "; the vocabulary is English: for another language, --config.vocabulary.name="
            f"{FROM_TRANSCRIPTS} --config.vocabulary.case=lower takes that of the transcripts"
        )
    hosts.log_on_chief(
        f"warning: {covered.num_unknown} {covered.units} of {feed.corpus.directory} "
        f"{covered.lack} and become <unk>: {dict(list(covered.unknown.items())[:10])}{remedy}"
    )
