"""One pass over the validation corpus: summed metrics, with CTC greedy error rates, and with
classes their F1."""

from __future__ import annotations

import functools
import heapq
from typing import Any

import jax
import numpy as np

from w2v2_jax import partition
from w2v2_jax.batch import Batch
from w2v2_jax.data.feed import Feed
from w2v2_jax.data.pipeline import host_rows
from w2v2_jax.decode.alignment import text
from w2v2_jax.decode.greedy import greedy
from w2v2_jax.errors import InputError, printable
from w2v2_jax.evaluation.classes import class_scores, confusion
from w2v2_jax.evaluation.rates import word_rate
from w2v2_jax.evaluation.scoring import score
from w2v2_jax.experiment.build import Experiment
from w2v2_jax.metrics import compute, merge
from w2v2_jax.system import hosts
from w2v2_jax.train_step import eval_step
from w2v2_jax.vocabulary import Vocabulary

EXAMPLES = 2  # utterances whose texts every validation prints
EXAMPLE_WORDS = 3  # the fewest words of an example
EXAMPLE_BYTES = 400


def hypotheses(logits, counts, vocabulary: Vocabulary) -> list[str]:
    """Greedy texts of logits [B, T, C] with real frames counts [B]."""
    alignments = greedy(np.asarray(logits), np.asarray(counts))
    texts = (
        text(alignment, vocabulary.symbols, units=vocabulary.units) for alignment in alignments
    )
    return [vocabulary.as_scored(hypothesis, words=False) for hypothesis in texts]


def validate(experiment: Experiment, feed: Feed, weights, step) -> dict[str, float]:
    """Metrics as floats, with the utterances that entered them and those left out.

    With several processes each decodes the utterances of its own rows, and only the sums are
    global. With CTC, process 0 prints the same EXAMPLES every time.
    """
    mine = partition.host_rows(experiment.mesh)
    totals, guesses = dict[str, Any](), dict[int, str]()
    seen: np.ndarray | None = None
    for index, local in enumerate(feed.batches(0, None, **mine._asdict())):
        batch = partition.global_batch(local, experiment.mesh)
        evaluate = experiment.eval_function(batch)
        sums, outputs = evaluate(weights, batch, step, experiment.seed)
        totals = sums.metrics if not totals else merge(totals, sums.metrics)
        if experiment.objective.class_labels:
            counts = _confusion(local, _local(outputs["guesses"]), len(feed.symbols))
            seen = counts if seen is None else seen + counts
        if not experiment.objective.ctc_head:
            continue
        local_rows = host_rows(feed.plan.batch(index), **mine._asdict()).rows
        guessed = hypotheses(_local(outputs["logits"]), _local(outputs["counts"]), feed.symbols)
        for row, guess, weight in zip(local_rows, guessed, local.weights, strict=True):
            if weight:
                guesses[row[0].utterance] = guess
    metrics, scored = compute(totals), feed.utterances
    if seen is not None:
        metrics["macro_f1"] = class_scores(_summed(seen)).macro_f1
    if experiment.objective.ctc_head:
        references = [reference(feed, utterance) for utterance in guesses]
        errors = _error_sums(references, list(guesses.values()))
        scored = int(errors[-1])
        metrics |= {"wer": errors[0] / max(errors[1], 1), "cer": errors[2] / max(errors[3], 1)}
        metrics[_word_rate(feed)] = metrics["wer"]
        hosts.log_on_chief(_shown(feed, guesses))
    everything = len(feed.corpus) + feed.without_transcript
    return metrics | {"utterances": scored, "left_out": everything - scored}


def check_best_metric(experiment: Experiment, feed: Feed) -> None:
    """Raises InputError if `train.best_metric` is not a metric of the validation. This is checked
    before the first update, and not only after the first validation."""
    wanted, known = experiment.settings.train.best_metric, _host_metrics(experiment, feed)
    if wanted in known:
        return  # the step need not be traced
    rows, samples = min(feed.plan.shapes, key=lambda shape: shape[0] * shape[1])
    batch = experiment.objective.abstract_batch(rows, samples)
    state = experiment.abstract_state
    function = functools.partial(eval_step, objective=experiment.objective)
    with jax.set_mesh(experiment.mesh):
        sums, _ = jax.eval_shape(function, state.weights, batch, state.step, experiment.seed)
    known = [*sums.metrics, *known]
    if wanted not in known:
        raise InputError(
            f"config.train.best_metric={wanted!r} is not a validation metric; known: "
            f"{', '.join(known)}"
        )


def _host_metrics(experiment: Experiment, feed: Feed) -> list[str]:
    """The metrics of texts and classes, which are computed on the host."""
    if experiment.objective.class_labels:
        return ["macro_f1"]
    if not experiment.objective.ctc_head:
        return []
    return [*dict.fromkeys(("wer", "cer", _word_rate(feed)))]


def _word_rate(feed: Feed) -> str:
    return word_rate(phonemes=feed.symbols.writes_phonemes(words=False))


def _confusion(local: Batch, guesses: np.ndarray, classes: int) -> np.ndarray:
    """Of this process's rows with weight; see `evaluation.classes.confusion`."""
    assert local.labels is not None
    rows = local.weights > 0
    return confusion(local.labels[rows, 0], guesses[rows], classes)


def reference(feed: Feed, utterance: int) -> str:
    """The transcript as greedy decoding is scored against it."""
    return feed.symbols.reference(feed.corpus.text(utterance), words=False)


def examples(feed: Feed) -> list[int]:
    """The shortest utterances with EXAMPLE_WORDS words, or fewer if the split has none such. They
    are the same at every validation and with any number of hosts."""

    def rank(utterance: int):
        words = len(reference(feed, utterance).split())
        length = int(feed.corpus.num_samples[utterance])
        return max(EXAMPLE_WORDS - words, 0), length, feed.corpus.id(utterance)

    used = [int(i) for bucket in feed.plan.buckets for i in bucket.utterances]
    return heapq.nsmallest(EXAMPLES, used, key=rank)


def _shown(feed: Feed, guesses: dict[int, str]) -> str:
    """Lines of the examples, reference over hypothesis; every process has to call it."""
    lines = []
    for utterance in examples(feed):
        guess = _from_its_process(guesses.get(utterance, ""))
        lines += [
            f"example {printable(feed.corpus.id(utterance))}",
            f"  reference   {printable(reference(feed, utterance))}",
            f"  hypothesis  {printable(guess)}",
        ]
    return "\n".join(lines)


def _from_its_process(guess: str) -> str:
    """Sends a text that one process may have to all; it is cut at EXAMPLE_BYTES."""
    if jax.process_count() == 1:
        return guess
    from jax.experimental import multihost_utils

    packed = np.zeros(EXAMPLE_BYTES, np.uint8)
    encoded = np.frombuffer(guess.encode()[:EXAMPLE_BYTES], np.uint8)
    packed[: len(encoded)] = encoded
    joined = np.asarray(multihost_utils.process_allgather(packed)).max(0)
    return joined.tobytes().rstrip(b"\0").decode(errors="ignore")


def _local(array: jax.Array) -> np.ndarray:
    """This process's rows of a row-sharded array."""
    shards = array.addressable_shards
    seen = {shard.index[0].start or 0: np.asarray(shard.data) for shard in shards}
    return np.concatenate([seen[start] for start in sorted(seen)])


def _error_sums(references: list[str], guesses: list[str]) -> np.ndarray:
    """[word errors, words, character errors, characters, utterances] over all processes, of which
    one may have no utterance."""
    local = np.zeros(5, np.int64)
    if references:
        result = score(references, guesses)
        local[:] = (
            result.words.errors,
            result.words.reference_length,
            result.characters.errors,
            result.characters.reference_length,
            len(references),
        )
    return _summed(local)


def _summed(local: np.ndarray) -> np.ndarray:
    """Counts of this process -> of all."""
    if jax.process_count() == 1:
        return local
    from jax.experimental import multihost_utils

    return multihost_utils.process_allgather(local).sum(0)
