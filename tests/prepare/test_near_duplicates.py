"""Texts that differ by a word or a letter are told among many that do not."""

import time

import numpy as np

from w2v2_jax.prepare.near_duplicates import near_duplicates


def sentences(count, rng):
    words = ["".join(rng.choice(list("abcdefghijklmnop"), rng.integers(3, 8))) for _ in range(4000)]
    return [" ".join(rng.choice(words, 12)) for _ in range(count)]


def test_pairs_that_differ_by_a_few_letters_are_told_and_no_others():
    texts = sentences(2000, np.random.default_rng(0))
    changed = []
    for n in range(0, 200, 10):
        changed.append((n, len(texts)))
        texts.append(texts[n].replace(texts[n].split()[5], "xxxx"))
    for n in range(1000, 1100):  # half of the words are no near duplicate
        texts.append(" ".join([*texts[n].split()[:7], *texts[n + 300].split()[7:]]))
    pairs = {(pair.first, pair.second): pair.similarity for pair in near_duplicates(texts)}
    assert len(set(changed) & set(pairs)) >= 18 and set(pairs) <= set(changed)
    assert 0.7 <= min(pairs.values()) <= max(pairs.values()) < 1


def test_short_texts_are_left_alone_and_few_texts_are_no_error():
    assert near_duplicates(["yes it is", "yes it was", ""]) == []
    assert near_duplicates([]) == []


def test_a_phrase_that_thousands_of_texts_share_takes_no_square_of_them():
    texts = [f"please say the number {n:05d} after the tone and wait" for n in range(3000)]
    start = time.process_time()
    assert len(near_duplicates(texts)) > 1000
    assert time.process_time() - start < 20
