"""Estimates an n-gram language model in ARPA form from text, and writes a lexicon for decoding.

w2v2 lm --text FILE|CORPUS[:SPLIT]... --out LM.arpa [--order 4] [--prune 0 0 1]
    [--vocabulary librispeech|FILE.json|DIR] [--lexicon OUT] [--characters]
"""

from __future__ import annotations

import sys
import tempfile
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import numpy as np

from w2v2_jax.data.corpus import open_corpus
from w2v2_jax.decode.lexicon import spell, write_lexicon
from w2v2_jax.errors import InputError, counted, run_command
from w2v2_jax.ngram import arpa, counts, kneser_ney, lmplz, text
from w2v2_jax.paths import refuse_special, writing
from w2v2_jax.system.arguments import CommandParser, number, whole
from w2v2_jax.system.new_output import new_file
from w2v2_jax.system.outputs import try_outputs
from w2v2_jax.texts import CASES, with_case
from w2v2_jax.vocabulary import Vocabulary, make_vocabulary
from w2v2_jax.vocabulary.make import FILE as VOCABULARY_FILE
from w2v2_jax.vocabulary.units import CHARACTERS

MAX_ORDER = 6  # what KenLM is compiled for
ESTIMATORS = ("auto", "lmplz", "own")


def rows_in(memory_gib: float, *, order: int) -> int:
    """The number of words that are sorted at once. A safe estimate: 16 bytes per word and order for
    the windows and their copies, and 100 per word for keys, sort order and counts."""
    return max(1000, int(memory_gib * 2**30 / (16 * order + 100)))


def estimate(lines, out: Path, arguments, prune: list[int], folder: Path) -> str:
    """Writes the model with this package's own estimator; returns what is in it."""
    with (folder / "ids").open("wb") as file:
        words = text.spool(lines, file)
    ids = np.memmap(folder / "ids", np.int32, mode="r")
    rows = rows_in(arguments.memory, order=arguments.order)
    grams = counts.count(
        ids, order=arguments.order, vocabulary=len(words), folder=folder, rows=rows
    )
    model = kneser_ney.estimate(grams, prune=prune, fallback=arguments.discount_fallback)
    sizes = arpa.write(out, model, words)
    return f": {', '.join(f'{n} {k}-grams' for k, n in enumerate(sizes, 1))}"


def pruning(thresholds: list[int], *, order: int) -> list[int]:
    """One threshold per order; the last given one applies to the orders above it."""
    if len(thresholds) > order:
        raise InputError(f"--prune has {len(thresholds)} thresholds for {order} orders")
    full = thresholds + thresholds[-1:] * (order - len(thresholds))
    if min(full) < 0 or sorted(full) != full:
        raise InputError(f"--prune {' '.join(map(str, thresholds))}: thresholds must not fall")
    return full


def cannot_be_spelled(
    words: list[str], unknown: list[str], vocabulary: Vocabulary, *, named: str
) -> str:
    """A line on the words of a text that the vocabulary, `named` so in it, cannot spell; "" if
    there are none. Where transcripts are not spoken words, or are file names, this is where one can
    see it."""
    if not unknown:
        return ""
    have = "has" if len(unknown) == 1 else "have"
    which = f"{len(unknown)} of {counted(len(words), 'different word')} {have}"
    some = f"such as {', '.join(unknown[:3])}"
    if vocabulary.pronunciations:
        return f"{which} no pronunciation in --vocabulary {named}, {some}"
    return (
        f"{which} symbols that --vocabulary {named} lacks, {some}; text rules turn them "
        "into spoken words (prepare --text, or the vocabulary of a run that was trained with them)"
    )


def make_lexicon(
    seen: Counter[str], vocabulary: Vocabulary, path: Path, *, min_count: int, named: str
) -> None:
    """Writes the words of the text, most frequent first, as the model spells them. named: the
    vocabulary, in messages."""
    frequent = [word for word, number in seen.most_common() if number >= min_count]
    if not frequent:
        raise InputError(f"--lexicon-min-count {min_count}: no word of the text is there as often")
    spelled, unknown = spell(frequent, vocabulary)
    if not spelled:
        raise InputError(
            f"--lexicon: no word of the text consists of the {len(vocabulary)} symbols of "
            "--vocabulary"
        )
    write_lexicon(path, spelled)
    told = cannot_be_spelled(frequent, unknown, vocabulary, named=named)
    left_out = f"; {len(unknown)} left out{': ' if told else ''}{told}"
    print(f"wrote {path}: {counted(len(spelled), 'word')}{left_out}")


def _is_corpus(name: str) -> bool:
    path = Path(name)
    return name != "-" and (path.is_dir() or (":" in name and not path.exists()))


def _of_texts(source: str, normalise: Callable[[str], str]) -> Callable[[str], str]:
    """`normalise` that raises InputError for a line of a table of recordings and transcripts, whose
    names would become words of the language model."""
    from w2v2_jax.data.audio import AUDIO_SUFFIXES  # with the readers of audio files

    def normalised(line: str) -> str:
        name, tab, _ = line.partition("\t")
        if tab and Path(name).suffix.lower() in AUDIO_SUFFIXES:
            raise InputError(
                f"{source} is a table and no text: {name!r} is the name of a recording; give the "
                "transcripts of a prepared corpus, --text CORPUS:SPLIT, or a file of the texts "
                f"alone, as `cut -f2 {source}` writes it"
            )
        return normalise(line)

    return normalised


def read_sentences(sources: Iterable[str], normalise: Callable[[str], str]) -> Iterator[list[str]]:
    """The words of each line of text files, and of each transcript of prepared corpora."""
    for source in sources:
        if _is_corpus(source):
            yield from text.words_of(open_corpus(source).texts(), source, normalise)
        else:
            yield from text.sentences([source], _of_texts(source, normalise))


def _parser() -> CommandParser:
    parser = CommandParser(prog="w2v2 lm", description=__doc__.splitlines()[0])
    parser.add_argument(
        "--text",
        required=True,
        nargs="+",
        action="extend",
        metavar="FILE|CORPUS[:SPLIT]",
        help="one sentence per line, UTF-8, plain or .gz; - is standard input; of a prepared "
        "corpus, its transcripts",
    )
    parser.add_argument(
        "--out", required=True, type=Path, metavar="LM.arpa", help="the model to write"
    )
    parser.add_argument("--order", type=int, default=4, help="the longest n-gram (4)")
    parser.add_argument(
        "--prune",
        type=int,
        nargs="+",
        default=[0],
        metavar="COUNT",
        help="leave out n-grams seen at most this often, one number per order",
    )
    parser.add_argument(
        "--discount-fallback",
        action="store_true",
        help="use discounts .5 1 1.5 if the text is too small to estimate them",
    )
    parser.add_argument(
        "--vocabulary",
        metavar="librispeech|FILE.json|DIR",
        help="the CTC model's vocabulary, or a checkpoint's folder; its text rules and case "
        "apply to the text",
    )
    parser.add_argument("--case", choices=CASES, help="case of the text without --vocabulary")
    parser.add_argument(
        "--characters",
        action="store_true",
        help="model letters and | instead of words, for decoding without lexicon",
    )
    parser.add_argument("--lexicon", type=Path, metavar="OUT", help="also write a lexicon")
    parser.add_argument(
        "--lexicon-min-count",
        type=whole(1),
        metavar="N",
        help="leave words seen less often out of the lexicon (1)",
    )
    parser.add_argument(
        "--estimator",
        choices=ESTIMATORS,
        default="auto",
        help="auto: KenLM's lmplz if it is installed, else this package's own",
    )
    parser.add_argument(
        "--memory", type=number(0.001, 1e6), default=1.0, metavar="GIB", help="memory for sorting"
    )
    parser.add_argument("--temporary", metavar="DIR", help="a folder for temporary files")
    return parser


def _vocabulary_of(named: str) -> Vocabulary:
    """The vocabulary that --vocabulary names: librispeech, a file, a checkpoint's folder.
    Raises InputError for a checkpoint without a CTC head."""
    if not Path(named).is_dir() or Path(named, VOCABULARY_FILE).is_file():
        return make_vocabulary(named)
    # A Hugging Face folder, or what `convert` and `average` write: the symbols are in the
    # description of the weights. Imported here, because all other uses of `lm` need no JAX.
    from w2v2_jax.checkpoint.description import require_ctc
    from w2v2_jax.interop.load import load_any

    description = load_any(named).description
    require_ctc(description, f"--vocabulary {named}")
    return description.ctc_vocabulary


def _checked(arguments) -> tuple[Vocabulary | None, Callable[[str], str], list[int]]:
    """The vocabulary, how text is normalised and the pruning thresholds."""
    if not 1 <= arguments.order <= MAX_ORDER:
        raise InputError(f"--order {arguments.order} is outside 1..{MAX_ORDER} (KenLM's limit)")
    if arguments.lexicon_min_count and not arguments.lexicon:
        raise InputError("--lexicon-min-count changes nothing without --lexicon; give it")
    if arguments.lexicon and not arguments.vocabulary:
        raise InputError(
            "--lexicon needs --vocabulary: librispeech, a checkpoint's folder or a file"
        )
    if arguments.case and arguments.vocabulary:
        raise InputError("--case and --vocabulary exclude each other; the vocabulary has a case")
    if arguments.estimator == "lmplz" and not lmplz.installed():
        raise InputError("--estimator lmplz: KenLM's lmplz is not on PATH; use --estimator own")
    if arguments.estimator == "lmplz" and arguments.order == 1:
        raise InputError("--estimator lmplz makes no model of --order 1; use --estimator own")
    try_outputs(arguments, "out", "lexicon")
    refuse_special(arguments.out, "--out")
    thresholds = pruning(arguments.prune, order=arguments.order)
    if not arguments.vocabulary:
        return None, with_case(arguments.case or "keep"), thresholds
    for source in arguments.text:  # before a checkpoint is loaded for its symbols
        if source != "-" and not _is_corpus(source):
            text.open_text(source).close()
    vocabulary = _vocabulary_of(arguments.vocabulary)
    if vocabulary.rules is not None:
        vocabulary.rules.check(where=f"--vocabulary {arguments.vocabulary}")
    return vocabulary, vocabulary.normalise, thresholds


def main(argv: list[str] | None = None) -> None:
    arguments = _parser().parse_args(argv)
    vocabulary, normalise, prune = _checked(arguments)
    seen: Counter[str] = Counter()
    symbols_of = list if vocabulary is None else vocabulary.spell
    boundary = "|" if vocabulary is None or vocabulary.units == CHARACTERS else ""

    def lines() -> Iterator[list[str]]:
        for words in read_sentences(arguments.text, normalise):
            if vocabulary is not None:
                seen.update(words)
            if arguments.characters:
                words = text.letters(words, spell=symbols_of, boundary=boundary)
            yield words

    # The error of a write does not say which of the two disks is full.
    temporary = arguments.temporary or tempfile.gettempdir()
    with (
        writing(f"--temporary {temporary} or --out", arguments.out),
        tempfile.TemporaryDirectory(dir=arguments.temporary) as name,
        new_file(arguments.out) as out,
    ):
        own_estimator = arguments.estimator == "own" or arguments.order == 1  # lmplz makes none
        if own_estimator or not lmplz.installed():
            made = estimate(lines(), out, arguments, prune, Path(name))
        else:
            lmplz.run(
                lines(),
                out,
                order=arguments.order,
                prune=prune,
                folder=Path(name),
                fallback=arguments.discount_fallback,
                memory_gib=arguments.memory,
            )
            made = " (KenLM's lmplz)"
    print(f"wrote {arguments.out}{made}")
    if vocabulary is None:
        return
    if arguments.lexicon:
        least, named = arguments.lexicon_min_count or 1, arguments.vocabulary
        make_lexicon(seen, vocabulary, arguments.lexicon, min_count=least, named=named)
    else:
        unknown, named = spell(seen, vocabulary)[1], arguments.vocabulary
        if told := cannot_be_spelled([*seen], unknown, vocabulary, named=named):
            print(told)


if __name__ == "__main__":
    sys.exit(run_command(main))
