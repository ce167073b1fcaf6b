"""The decoder's options of a command line: `add_arguments`, then `make_decoder`."""

from __future__ import annotations

import argparse
import dataclasses
import hashlib
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from w2v2_jax.decode import engines
from w2v2_jax.decode.alignment import SECONDS_PER_FRAME
from w2v2_jax.decode.hypothesis import Decoder
from w2v2_jax.decode.make import KINDS, DecoderSettings, check_files, make, settings
from w2v2_jax.decode.rescore import CASES
from w2v2_jax.errors import InputError
from w2v2_jax.paths import file_sha256
from w2v2_jax.system.arguments import MOST_PROCESSES, whole
from w2v2_jax.vocabulary import Vocabulary

HOT_BONUS = 5.0

# setting (its option has - instead of _): its type and help
_NUMBERS = {
    "beam": (int, "number of hypotheses in the beam (50)"),
    "beam_tokens": (int, "number of symbols tried per frame (all)"),
    "beam_threshold": (float, "how far below the best a hypothesis may fall (50)"),
    "lm_weight": (float, "weight of the LM's log10 probability (2)"),
    "word_score": (float, "score added per word (-1)"),
    "unknown_score": (float, "score added per word outside the lexicon (-inf: no such words)"),
    "silence_score": (float, "score added per frame of | (0)"),
    "nbest": (int, "number of hypotheses to return or to rescore (1)"),
    "rescore_weight": (float, "weight of the Transformer's ln probability (1)"),
    "rescore_word_score": (float, "score added per word when rescoring (0)"),
    "rescore_ngram_weight": (float, "share of the n-gram score kept when rescoring (0)"),
}
_OF_WORDS = ("word_score", "unknown_score", "end_word")  # for a search that has words


def _hot_word(text: str) -> tuple[str, float]:
    word, _, bonus = text.rpartition("=")
    try:
        return (word, float(bonus)) if word else (text, HOT_BONUS)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r}: WORD or WORD=BONUS") from None


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the decoder's options as a separate group."""
    group = parser.add_argument_group("decoder", "without any of these, decoding is greedy")
    add = group.add_argument
    add("--decoder", choices=KINDS, dest="decoder_kind", help="--lm and --lexicon imply beam")
    add("--lm", metavar="FILE.arpa|.bin", help="n-gram model of words, or of letters and |")
    add("--lexicon", metavar="FILE", help="word<TAB>s y m b o l s | (default: words of --lm)")
    add(
        "--engine",
        choices=(engines.AUTO, *engines.ENGINES),
        help="the beam search (auto: flashlight if it is installed, else numpy, which is slower)",
    )
    add("--decoder-preset", metavar="NAME", help="the paper's weights: base_10m .. lv60k_960h")
    add("--decoder-settings", metavar="FILE.json", help="settings from `w2v2 sweep`")
    for name, (kind, text) in _NUMBERS.items():
        add(f"--{name.replace('_', '-')}", type=kind, metavar="N", help=text)
    add("--log-add", action="store_true", default=None, help="sum over alignments")
    add(
        "--end-word",
        action="store_true",
        default=None,
        help="end a word where the audio ends, for models that write no final |",
    )
    add(
        "--hot-word",
        action="append",
        type=_hot_word,
        metavar="WORD[=BONUS]",
        dest="hot_words",
        help=f"a word to prefer (bonus {HOT_BONUS:g}); may be given several times",
    )
    add("--rescore", metavar="DIR", help="causal LM (Hugging Face folder) that ranks the n-best")
    add("--rescore-case", choices=CASES, help="case of the texts for --rescore (keep)")


def add_jobs(parser: argparse.ArgumentParser) -> None:
    """Adds --jobs, for commands that decode many utterances at once."""
    jobs = whole(1, MOST_PROCESSES)
    parser.add_argument(
        "--jobs", type=jobs, default=1, metavar="N", help="decode in N processes (1)"
    )


def read_arguments(arguments: argparse.Namespace) -> DecoderSettings:
    """The settings from the options; InputError if they contradict each other, or if one of them
    would have no effect."""
    names = ("lm", "lexicon", "rescore", "rescore_case", "log_add", "end_word", "engine", *_NUMBERS)
    chosen: dict[str, Any] = {name: getattr(arguments, name) for name in names}
    chosen["kind"] = arguments.decoder_kind
    chosen["hot_words"] = tuple(arguments.hot_words) if arguments.hot_words else None
    found = settings(chosen, preset_name=arguments.decoder_preset, file=arguments.decoder_settings)
    for option, use in _without_effect(arguments, found):
        raise InputError(f"{option} changes nothing {use}")
    return found


def check_ahead(arguments: argparse.Namespace) -> None:
    """`read_arguments` and whether the files exist, for commands that first load a network and that
    use the best hypothesis alone."""
    found = read_arguments(arguments)
    if arguments.nbest is not None and not found.rescore:
        raise InputError("--nbest changes nothing without --rescore; give it")
    check_files(found)


def as_origin(arguments: argparse.Namespace) -> dict[str, Any]:
    """The settings as plain values, with hashes of the files' contents in place of their names:
    they tell the results of one decoder from those of another."""
    chosen = read_arguments(arguments)
    plain = dataclasses.asdict(chosen)
    beam = plain.pop("beam")
    flat = {"decoder": plain.pop("kind"), **plain, **beam}
    for name in ("lm", "lexicon", "rescore"):
        if flat[name] is not None:
            flat[name] = _hash_of(Path(flat[name]))
    return flat


def _hash_of(path: Path) -> str:
    """The hash of a file, or of the files in a folder and their names."""
    if path.is_file():
        return file_sha256(path)
    files = sorted(child for child in path.iterdir() if child.is_file())
    told = "".join(f"{child.name} {file_sha256(child)}\n" for child in files)
    return hashlib.sha256(told.encode()).hexdigest()


def _option(name: str) -> str:
    return f"--{name.replace('_', '-')}"


def _given(arguments: argparse.Namespace, names: Iterable[str]) -> list[str]:
    return [name for name in names if getattr(arguments, name) is not None]


def _without_effect(
    arguments: argparse.Namespace, found: DecoderSettings
) -> Iterator[tuple[str, str]]:
    """(option, when it would have an effect) of the options that have none."""
    if arguments.lm_weight is not None and not (found.lm or found.hot_words):
        yield "--lm-weight", "without --lm or --hot-word; give one"
    for name in _given(arguments, (*_NUMBERS, "log_add", "end_word", "rescore_case")):
        if name.startswith("rescore_"):
            if not found.rescore:
                yield _option(name), "without --rescore; give it"
        elif found.kind == "greedy":
            yield _option(name), "in greedy decoding; add --decoder beam, --lm or --lexicon"
    if arguments.rescore_ngram_weight and not (found.lm or found.hot_words):
        yield "--rescore-ngram-weight", "without --lm or --hot-word; give one"
    if arguments.decoder_preset is None:
        return
    ngram = arguments.decoder_preset.removesuffix("_transformer")
    if not (found.lm or found.lexicon or found.rescore or found.beam.log_add):
        yield (
            f"--decoder-preset {arguments.decoder_preset}",
            "without --lm, --lexicon or --rescore; give one",
        )
    if ngram != arguments.decoder_preset and not found.rescore:
        yield (
            f"--decoder-preset {arguments.decoder_preset}",
            f"more than {ngram} without --rescore; give it, or use {ngram}",
        )


def make_decoder(
    arguments: argparse.Namespace,
    vocabulary: Vocabulary,
    *,
    seconds_per_frame: float = SECONDS_PER_FRAME,
) -> Decoder:
    """The decoder that the options describe, with its models loaded."""
    decoder = make(read_arguments(arguments), vocabulary, seconds_per_frame=seconds_per_frame)
    check_words(arguments, decoder)
    return decoder


def check_words(arguments: argparse.Namespace, decoder: Decoder) -> None:
    """InputError if an option is for words, and the decoder's search has none."""
    if not decoder.writes_words:
        for name in _given(arguments, _OF_WORDS):
            raise InputError(
                f"{_option(name)} changes nothing without words; give --lexicon or a --lm of words"
            )
