"""Texts with characters that a model has no symbol for, and what forced alignment makes of them."""

import sys

import numpy as np
import pytest

from w2v2_jax.decode.lines import align_spelled
from w2v2_jax.decode.spelling import STAR, Speller, spelled_lines, strict
from w2v2_jax.errors import InputError
from w2v2_jax.texts.romanise import romaniser
from w2v2_jax.vocabulary import SPECIALS, Vocabulary

VOCABULARY = Vocabulary((*SPECIALS, *"ABCDEFI'"), "upper")
A, B, C, D, E = (VOCABULARY.symbols.index(letter) for letter in "ABCDE")


def spoken(ids, *, frames=2, pause=1):
    """Logits [T, C] in which each id lasts `frames` and is followed by `pause` blanks; the frames
    at which they start."""
    path, starts = [0] * 5, []
    for i in ids:
        starts.append(len(path))
        path += [int(i)] * frames + [0] * pause
    path += [0] * 5
    logits = np.random.default_rng(0).normal(size=(len(path), len(VOCABULARY)))
    logits[np.arange(len(path)), path] += 9.0
    return logits.astype(np.float32), starts


@pytest.mark.parametrize(
    ("line", "ids", "letters"),
    [
        ("ab, - c", [A, B, 4, C, 4], ["A", "B", "|", "C", "|"]),  # punctuation is not said
        ("b1984a", [B, STAR, A, 4], ["B", "1984", "A", "|"]),  # one star a run
        ("5 %", [STAR, 4, STAR, 4], ["5", "|", "%", "|"]),
        ("b\u00e9 \ufb01", [B, E, 4, 10, 11, 4], ["B", "\u00c9", "|", "F", "I", "|"]),
        ("a <star> b", [A, 4, STAR, 4, B, 4], ["A", "|", "", "|", "B", "|"]),
        ("\u0416\u0416", [STAR, 4], ["\u0416\u0416", "|"]),
        ("...", [], []),
    ],
)
def test_what_has_no_symbol_is_a_star_its_plain_letter_or_nothing(line, ids, letters):
    spelled = Speller(VOCABULARY)(line)
    assert spelled.ids.tolist() == ids and spelled.letters == letters


def test_a_line_of_known_characters_is_spelled_as_strictly():
    line = "abba  Cab'"
    lenient, strictly = Speller(VOCABULARY)(line), strict(line, VOCABULARY)
    assert lenient.ids.tolist() == strictly.ids.tolist() == VOCABULARY.encode(line).tolist()
    assert lenient.word.tolist() == strictly.word.tolist() == [0] * 5 + [1] * 5


def test_replacements_are_counted_by_what_was_taken():
    speller = Speller(VOCABULARY)
    speller("7 77 \u00e9 a.")
    assert speller.counts == {"7 as <star>": 3, "\u00c9 as E": 1}


def test_a_number_gets_the_time_of_what_is_said_for_it_and_its_digits_share_it():
    logits, starts = spoken([A, 4, *[D, E, B, D], 4, C, 4])  # a, four letters for the number, c
    (line,) = align_spelled(
        logits, [Speller(VOCABULARY)("a 1984 c")], seconds_per_frame=1, where="text"
    ).lines
    assert [w.word for w in line.words] == ["a", "1984", "c"]
    number = line.words[1]
    assert starts[1] <= number.start <= starts[2] and starts[5] <= number.end <= starts[6]
    digits = line.characters[1:5]
    assert "".join(c.character for c in digits) == "1984"
    widths = [c.end - c.start for c in digits]
    assert widths == pytest.approx([(number.end - number.start) / 4] * 4)
    assert line.words[2].start == starts[7]


def test_frames_of_a_star_and_of_silence_have_no_shortfall_and_those_of_right_letters_hardly_any():
    logits, starts = spoken([A, 4, D, E, 4, C, 4])
    aligned = align_spelled(
        logits, [Speller(VOCABULARY)("a <star> c")], seconds_per_frame=1, where="text"
    )
    star = np.isnan(aligned.shortfalls)
    assert star[starts[2] : starts[4] - 1].all() and not star[starts[0]]
    assert np.nanmin(aligned.shortfalls) > -0.2
    wrong = align_spelled(logits, [strict("a bb c", VOCABULARY)], seconds_per_frame=1, where="text")
    assert np.nanmin(wrong.shortfalls) < -5


def test_a_star_between_lines_takes_what_was_said_there():
    said = VOCABULARY.encode("abc dead bed cab")
    logits, starts = spoken(said)
    speller = Speller(VOCABULARY)
    aligned = align_spelled(
        logits, [speller("abc <star>"), speller("cab")], seconds_per_frame=1, where="text"
    )
    first, last = aligned.lines
    assert first.end <= starts[4] and last.start == starts[13]


def test_phonemes_are_words_without_an_end_and_an_unknown_one_is_a_star():
    vocabulary = Vocabulary((*SPECIALS, "n", "a\u026a"), "keep", "phonemes")
    spelled = Speller(vocabulary)("n a\u026a xx .")
    assert spelled.ids.tolist() == [5, 6, STAR] and spelled.words == ["n", "a\u026a", "xx"]
    assert strict("n a\u026a n", vocabulary).word.tolist() == [0, 1, 2]


def test_lines_of_known_characters_are_spelled_strictly_and_others_leniently():
    spelled = spelled_lines(["abba cab", "Dead 7", "", "--"], VOCABULARY, where="text")
    assert [line.text for line in spelled.lines] == ["abba cab", "Dead 7"]
    assert spelled.lines[0].words == ["ABBA", "CAB"]
    assert spelled.lines[0].ids.tolist() == VOCABULARY.encode("abba cab").tolist()
    assert spelled.lines[1].words == ["Dead", "7"] and STAR in spelled.lines[1].ids
    assert spelled.replaced == {"7 as <star>": 1} and spelled.left_out == [4]


def test_a_star_of_the_text_is_one_also_between_known_characters_and_alone_is_no_text():
    spelled = spelled_lines(["abba <star> cab", "<star>", "dead"], VOCABULARY, where="text")
    assert [line.words for line in spelled.lines] == [["abba", "cab"], [], ["DEAD"]]
    assert [(line.ids == STAR).sum() for line in spelled.lines] == [1, 1, 0]
    assert not spelled.replaced and not spelled.left_out
    with pytest.raises(InputError, match="text: no text to align"):
        spelled_lines(["<star>", "<star> <star>"], VOCABULARY, where="text")


def test_a_text_that_is_stars_for_the_most_part_is_refused_with_the_remedy():
    with pytest.raises(InputError, match=r"'П' .*in line 2; .*--romanise, or spell them out"):
        spelled_lines(["ab", "Привет"], VOCABULARY, where="text")
    assert spelled_lines(["abbaab", "Привет"], VOCABULARY, where="text").replaced


def test_romanised_words_stay_as_they_are_written_and_have_the_ids_of_their_letters():
    latin = {"Беда,": "beda,", "да": "da"}
    spelled = spelled_lines(["Беда, да"], VOCABULARY, where="text", romanise=latin.get)
    (line,) = spelled.lines
    assert line.words == ["Беда,", "да"]
    assert line.ids.tolist() == [B, E, D, A, 4, D, A, 4] and not spelled.replaced


def test_without_uroman_the_remedy_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "uroman", None)
    with pytest.raises(
        InputError, match=r"--romanise needs uroman: pip install .w2v2_jax.romanise."
    ):
        romaniser.__wrapped__()


@pytest.mark.slow
def test_uroman_spells_other_scripts_with_a_to_z():
    pytest.importorskip("uroman")
    words = {"Привет": "privet", "你好": "nihao", "नमस्ते": "namaste", "caffè": "caffe", "a": "a"}
    assert {word: romaniser()(word) for word in words} == words
