"""Symbols longer than a character through encoding, decoding, alignment and scoring."""

import sys

import numpy as np
import pytest

from tests.helpers.symbol_cases import (
    PHONES,
    SENTENCES,
    espeak_vocabulary,
    phoneme_vocabulary,
    piece_model,
    piece_vocabulary,
    saying,
)
from w2v2_jax.decode import alignment
from w2v2_jax.decode.lexicon import spell
from w2v2_jax.decode.lines import align_lines
from w2v2_jax.decode.make import DecoderSettings, make
from w2v2_jax.decode.runs import run_lengths, summed
from w2v2_jax.errors import InputError
from w2v2_jax.evaluation.phones import PHONE_SETS
from w2v2_jax.evaluation.scoring import count_errors
from w2v2_jax.texts.choice import unicode
from w2v2_jax.vocabulary import (
    LIBRISPEECH,
    SPECIALS,
    Vocabulary,
    extend_vocabulary,
    load_vocabulary,
    make_vocabulary,
    shared_rows,
)


@pytest.fixture(params=["phonemes", "unigram", "bpe"])
def case(request, tmp_path):
    """A vocabulary and a text of its symbols."""
    if request.param == "phonemes":
        return phoneme_vocabulary(), PHONES[0]
    return piece_vocabulary(tmp_path, kind=request.param), SENTENCES[0]


def test_a_text_is_its_symbols_and_back(case):
    vocabulary, text = case
    ids = vocabulary.encode(f"  {text} ")
    assert ids.dtype == np.int32 and not set(ids.tolist()) & set(range(5))
    assert vocabulary.decode(ids) == text == vocabulary.normalise(text)
    assert any(len(vocabulary.symbols[i]) > 1 for i in ids)
    assert vocabulary.has_words(text) and not vocabulary.has_words("42 ?")
    assert len(vocabulary.encode(" ")) == 0


def test_a_vocabulary_of_longer_symbols_is_stored_whole(case, tmp_path):
    vocabulary, text = case
    vocabulary.save(tmp_path / "vocabulary.json")
    loaded = load_vocabulary(tmp_path / "vocabulary.json")
    assert loaded == vocabulary
    assert loaded.encode(text).tolist() == vocabulary.encode(text).tolist()


def test_a_vocabulary_without_units_is_of_characters():
    stored = LIBRISPEECH.to_json()
    assert set(stored) == {"symbols", "case"}
    assert Vocabulary.from_json(stored).units == "characters"


def test_the_text_rules_are_stored_with_the_symbols(tmp_path):
    rules = unicode()
    vocabulary = make_vocabulary("from_transcripts", ["Don\u2019t!"], case="lower", rules=rules)
    assert set(vocabulary.symbols[5:]) == set("don't")
    vocabulary.save(tmp_path / "vocabulary.json")
    assert load_vocabulary(tmp_path / "vocabulary.json").rules == rules
    with pytest.raises(InputError, match=r"has the text rules unicode, .* --text unicode:"):
        make_vocabulary(str(tmp_path / "vocabulary.json"), rules=unicode("tr"))


def test_greedy_words_have_the_times_of_their_symbols(case):
    vocabulary, text = case
    ids = vocabulary.encode(text)
    decoder = make(DecoderSettings(), vocabulary)
    best = decoder(saying(ids, len(vocabulary)))[0]
    assert best.text == text
    starts = [0.06 * k for k in range(len(ids))]
    if vocabulary.units == "phonemes":
        assert [w.start for w in best.words] == pytest.approx(starts)
        assert [w.end - w.start for w in best.words] == pytest.approx([0.04] * len(ids))
    else:
        begins = [
            s for s, i in zip(starts, ids, strict=True) if vocabulary.symbols[i][0] == "\u2581"
        ]
        assert [w.start for w in best.words] == pytest.approx(begins)


def test_a_piece_that_begins_a_word_and_says_nothing_is_no_word():
    symbols = (*SPECIALS, "\u2581", "\u2581a", "b")
    spans = alignment.collapse(np.array([5, 0, 6, 7, 5, 7]), np.ones(6))
    assert [w.word for w in alignment.words(spans, symbols, units="sentencepiece")] == ["ab", "b"]
    assert [c.character for c in alignment.characters(spans, symbols, units="sentencepiece")] == [
        "a", "b", "b"
    ]  # fmt: skip


def test_a_bar_among_phonemes_is_no_phoneme():
    vocabulary = espeak_vocabulary()
    assert vocabulary.decode([5, 4, 6, 3]) == "n a\u026a <unk>"
    assert vocabulary.normalise("n | a\u026a") == "n a\u026a"


def test_phonemes_that_are_not_known_are_counted_whole():
    vocabulary = espeak_vocabulary()
    assert vocabulary.unknown(["n xx a\u026a xx y"]) == {"xx": 2, "y": 1}
    assert vocabulary.encode("n xx").tolist() == [5, 3]


@pytest.mark.decode
def test_beam_search_writes_the_same(case):
    vocabulary, text = case
    decoder = make(DecoderSettings(kind="beam"), vocabulary)
    assert decoder(saying(vocabulary.encode(text), len(vocabulary)))[0].text == text


@pytest.mark.decode
def test_a_lexicon_makes_words_of_phonemes_with_their_times(tmp_path):
    vocabulary = Vocabulary((*SPECIALS, "dh", "ax", "k", "ae", "t"), "keep", "phonemes")
    (tmp_path / "lexicon.txt").write_text("the\tdh ax\ncat\tk ae t\ntack\tt ae k\n")
    decoder = make(DecoderSettings(kind="beam", lexicon=str(tmp_path / "lexicon.txt")), vocabulary)
    best = decoder(saying(vocabulary.encode("dh ax k ae t dh ax"), len(vocabulary)))[0]
    assert best.text == "the cat the"
    assert [w.start for w in best.words] == pytest.approx([0, 0.12, 0.3])
    assert [w.end for w in best.words] == pytest.approx([0.1, 0.28, 0.4])


def test_runs_of_one_symbol_are_one_frame_of_their_summed_scores():
    log_probs = np.log(np.array([[1, 8, 1], [1, 7, 2], [8, 1, 1], [7, 2, 1], [1, 1, 8]]) / 10)
    lengths = run_lengths(log_probs, blank=0)
    assert lengths.tolist() == [2, 1, 1, 1]
    sums = summed(log_probs, lengths)
    np.testing.assert_allclose(sums[0], log_probs[0] + log_probs[1], rtol=1e-6)
    np.testing.assert_allclose(sums[1:], log_probs[2:], rtol=1e-6)
    assert summed(log_probs[:0], run_lengths(log_probs[:0], blank=0)).shape == (0, 3)


@pytest.mark.decode
def test_a_word_without_an_end_of_its_own_costs_no_more_the_longer_it_lasts(tmp_path):
    vocabulary = Vocabulary((*SPECIALS, "a", "b"), "keep", "phonemes")
    (tmp_path / "lexicon.txt").write_text("ab\ta b\n")
    decoder = make(DecoderSettings(kind="beam", lexicon=str(tmp_path / "lexicon.txt")), vocabulary)
    logits = np.full((8, 7), -20.0, np.float32)
    logits[range(8), [0, 5, 6, 6, 6, 6, 5, 6]] = 0.0
    best = decoder(logits)[0]
    assert best.text == "ab ab" and best.acoustic_score == pytest.approx(0, abs=1e-3)
    assert [(w.start, w.end) for w in best.words] == [
        pytest.approx((0.02, 0.12)), pytest.approx((0.12, 0.16))
    ]  # fmt: skip


@pytest.mark.decode
def test_a_lexicon_of_pieces_is_searched(tmp_path):
    vocabulary = piece_vocabulary(tmp_path)
    entries, unknown = spell(["the", "cat", "42"], vocabulary)
    assert [word for word, _ in entries] == ["the", "cat"] and unknown == ["42"]
    lines = (f"{word}\t{' '.join(symbols)}\n" for word, symbols in entries)
    (tmp_path / "lexicon.txt").write_text("".join(lines))
    decoder = make(DecoderSettings(kind="beam", lexicon=str(tmp_path / "lexicon.txt")), vocabulary)
    assert decoder(saying(vocabulary.encode("the cat"), len(vocabulary)))[0].text == "the cat"


def test_lines_of_phonemes_are_aligned(case):
    vocabulary, text = case
    ids = vocabulary.encode(text)
    (line,) = align_lines(
        saying(ids, len(vocabulary)), [text], vocabulary, seconds_per_frame=0.02, where="x"
    )
    assert line.text == text and [w.word for w in line.words] == text.split()
    assert line.confidence > 0.9


def test_timits_phones_are_scored_as_39():
    fold, heard = PHONE_SETS["timit"]
    reference, hypothesis = (
        fold(PHONES[0].split()),
        heard(["h#", "sh", "ix", "hh", "ae", "tcl", "d"]),
    )
    counts = count_errors(reference, hypothesis)
    assert reference[:4] == ["sil", "sh", "iy", "hh"]
    assert (counts.substitutions, counts.deletions, counts.insertions) == (1, 9, 0)


def test_heads_share_rows_of_the_same_units_alone():
    phones = Vocabulary((*SPECIALS, "A", "B"), "keep", "phonemes")
    letters = Vocabulary((*SPECIALS, "B", "A"), "keep")
    assert shared_rows(phones, letters) == (0, 1, 2, 3, 4, None, None)
    assert shared_rows(letters, letters) == tuple(range(7))


def test_phonemes_are_extended_and_pieces_are_not(tmp_path):
    assert extend_vocabulary(phoneme_vocabulary(), ["zh sh"], min_count=1).symbols[-1] == "zh"
    with pytest.raises(InputError, match="sentencepiece model cannot be extended"):
        extend_vocabulary(piece_vocabulary(tmp_path), ["x"], min_count=1)


def test_rules_that_take_phonemes_apart_are_refused():
    with pytest.raises(InputError, match="--text unicode takes phonemes like h# apart"):
        phoneme_vocabulary(rules=unicode())


def test_models_that_are_none_are_one_line(tmp_path):
    pytest.importorskip("sentencepiece")
    (tmp_path / "a.model").write_bytes(b"no model")
    with pytest.raises(InputError, match=r"a\.model: not a sentencepiece model"):
        make_vocabulary(f"sentencepiece:{tmp_path}/a.model")
    with pytest.raises(InputError, match=r"b\.model: cannot be read: No such file"):
        make_vocabulary(f"sentencepiece:{tmp_path}/b.model")


def test_pieces_without_the_library_transcribe_and_name_the_remedy(tmp_path, monkeypatch):
    path = piece_model(tmp_path, size=30)
    vocabulary = make_vocabulary(f"sentencepiece:{path}")
    ids = vocabulary.encode("the mat")
    from w2v2_jax.vocabulary import pieces

    pieces._processor.cache_clear()
    monkeypatch.setitem(sys.modules, "sentencepiece", None)
    assert vocabulary.decode(ids) == "the mat"
    with pytest.raises(InputError, match="pip install sentencepiece"):
        vocabulary.encode("the mat")
