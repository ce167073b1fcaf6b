"""One pass over the validation corpus: summed metrics, and with CTC greedy error rates."""

from __future__ import annotations

import jax
import numpy as np

from w2v2_jax import partition
from w2v2_jax.data.feed import Feed
from w2v2_jax.data.pipeline import host_rows
from w2v2_jax.decode.alignment import text
from w2v2_jax.decode.greedy import greedy
from w2v2_jax.evaluation.scoring import score
from w2v2_jax.experiment.build import Experiment
from w2v2_jax.metrics import compute, merge
from w2v2_jax.vocabulary import Vocabulary


def hypotheses(logits, counts, vocabulary: Vocabulary) -> list[str]:
    """Greedy texts of logits [B, T, C] with real frames counts [B]."""
    alignments = greedy(np.asarray(logits), np.asarray(counts))
    return [text(alignment, vocabulary.symbols) for alignment in alignments]


def validate(experiment: Experiment, feed: Feed, params, step) -> dict[str, float]:
    """Metrics as floats.

    On several processes each decodes its own rows' utterances and only the sums are global, so
    word errors are gathered by process.
    """
    mine = partition.host_rows(experiment.mesh)
    totals, references, guesses = None, [], []
    for index, local in enumerate(feed.batches(0, None, **mine._asdict())):
        batch = partition.global_batch(local, experiment.mesh)
        evaluate = experiment.eval_function(batch)
        sums, outputs = evaluate(params, batch, step, experiment.seed)
        totals = sums.metrics if totals is None else merge(totals, sums.metrics)
        if not experiment.objective.ctc_head:
            continue
        local_rows = host_rows(feed.plan.batch(index), **mine._asdict()).rows
        guessed = hypotheses(_local(outputs["logits"]), _local(outputs["counts"]), feed.vocabulary)
        for row, guess, weight in zip(local_rows, guessed, local.weights, strict=True):
            if weight:
                utterance = row[0].utterance
                references.append(feed.vocabulary.normalise(feed.corpus.text(utterance)))
                guesses.append(guess)
    metrics = compute(totals)
    if experiment.objective.ctc_head:
        errors = _error_sums(references, guesses)
        metrics |= {"wer": errors[0] / max(errors[1], 1), "cer": errors[2] / max(errors[3], 1)}
    return metrics


def _local(array: jax.Array) -> np.ndarray:
    """This process's rows of a row-sharded array."""
    shards = sorted(array.addressable_shards, key=lambda shard: shard.index[0].start or 0)
    seen = {shard.index[0].start or 0: np.asarray(shard.data) for shard in shards}
    return np.concatenate([seen[start] for start in sorted(seen)])


def _error_sums(references: list[str], guesses: list[str]) -> np.ndarray:
    """[word errors, words, character errors, characters] over all processes."""
    result = score(references, guesses)
    local = np.array(
        [
            result.words.errors, result.words.reference_length,
            result.characters.errors, result.characters.reference_length,
        ]
    )  # fmt: skip
    if jax.process_count() == 1:
        return local
    from jax.experimental import multihost_utils

    return multihost_utils.process_allgather(local).sum(0)
