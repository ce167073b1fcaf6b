# ruff: noqa: RUF001  (letters that look alike are what this is about)
"""One reader and one normal form of texts."""

import bz2
import gzip
import lzma
import unicodedata

import numpy as np
import pytest

from w2v2_jax.decode import alignment
from w2v2_jax.decode.lexicon import read_lexicon, spell
from w2v2_jax.decode.search_words import with_hot_words
from w2v2_jax.errors import InputError
from w2v2_jax.evaluation.scoring import score
from w2v2_jax.ngram.text import sentences
from w2v2_jax.texts import dropped, normal_form, text_lines, with_case
from w2v2_jax.vocabulary import SPECIALS, Vocabulary, build_vocabulary, load_vocabulary
from w2v2_jax.vocabulary.units import PHONEMES, PIECES

BENGALI_YYA = "\u09df"  # a composition exclusion: NFC takes it apart


@pytest.mark.parametrize(
    "text",
    ["one\ntwo\n", "one\r\ntwo\r\n", "one\rtwo", "\ufeffone\ntwo", "\ufeffone\n\ufefftwo\n"],
)
def test_lines_are_the_same_whatever_their_ends_and_marks(tmp_path, text):
    (tmp_path / "a.txt").write_bytes(text.encode())
    assert list(text_lines(tmp_path / "a.txt")) == ["one", "two"]


@pytest.mark.parametrize(
    "pack, name", [(gzip.compress, "gzip"), (bz2.compress, "bzip2"), (lzma.compress, "xz")]
)
def test_a_packed_file_is_named_as_one(tmp_path, pack, name):
    (tmp_path / "a").write_bytes(pack(b"one\n"))
    with pytest.raises(InputError, match=f"a: packed by {name}; unpack it first"):
        list(text_lines(tmp_path / "a"))


def test_a_line_ends_at_line_feeds_alone(tmp_path):
    (tmp_path / "a.txt").write_text("a\u2028b\x85c\x0bd\ne")
    assert list(text_lines(tmp_path / "a.txt")) == ["a\u2028b\x85c\x0bd", "e"]


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "utf-16-be", "utf-32", "latin-1"])
def test_another_encoding_is_refused_by_name(tmp_path, encoding):
    (tmp_path / "a.txt").write_bytes("été: some words\n".encode(encoding))
    named = encoding[:6].upper() if encoding != "latin-1" else "not UTF-8"
    with pytest.raises(InputError, match=rf"a\.txt: {named} text.*; save it as UTF-8"):
        list(text_lines(tmp_path / "a.txt"))


def test_a_mark_before_the_text_of_a_language_model_is_no_part_of_a_word(tmp_path):
    (tmp_path / "a.txt").write_text("the cat\n", "utf-8-sig")
    (tmp_path / "b.txt.gz").write_bytes(gzip.compress("the dog\n".encode("utf-8-sig")))
    found = list(sentences([str(tmp_path / "a.txt"), str(tmp_path / "b.txt.gz")], str))
    assert found == [["the", "cat"], ["the", "dog"]]


def test_a_mark_before_a_lexicon_and_a_vocabulary_is_passed_over(tmp_path):
    vocabulary = Vocabulary((*SPECIALS, *"ab"), "lower")
    vocabulary.save(tmp_path / "v.json")
    (tmp_path / "v.json").write_bytes(b"\xef\xbb\xbf" + (tmp_path / "v.json").read_bytes())
    assert load_vocabulary(tmp_path / "v.json") == vocabulary
    (tmp_path / "l.txt").write_text("ab\ta b |\n", "utf-8-sig")
    assert read_lexicon(tmp_path / "l.txt", vocabulary.symbols) == [("ab", ("a", "b", "|"))]


HIDDEN = (
    0x200B, 0xAD, 0xFEFF, 0x200E, 0x202A, 0x2066, 0x2060, 0x34F, 0xFE0F, 0x180B, 0x115F, 0x3164,
    0x0, 0x7F, 0x9B, 0xE0041,
)  # fmt: skip


@pytest.mark.parametrize("code", HIDDEN)
def test_what_shows_nothing_is_no_part_of_a_text(code):
    text = f"he{chr(code)}llo"
    assert normal_form(text) == "hello" and dropped(text) == chr(code)
    assert build_vocabulary([text], case="keep", min_count=1).symbols[5:] == tuple("leho")


def test_joiners_stay_where_they_choose_a_letters_shape():
    persian, sinhala = "\u0645\u06cc\u200c\u0631\u0648\u0645", "\u0dc1\u0dca\u200d\u0dbb\u0dd3"
    assert normal_form(persian) == persian and normal_form(sinhala) == sinhala
    assert normal_form("he\u200dl\u200clo") == "hello" and normal_form("\u200ca") == "a"


def test_visible_format_characters_and_white_space_stay():
    assert normal_form("\u0600\u06dd a\tb\u00a0c") == "\u0600\u06dd a\tb\u00a0c"


CASE_PAIRS = [
    ("lower:tr", "IŞIK İZMİR I\u0307ki", "ışık izmir iki"),
    ("upper:tr", "ışık izmir", "IŞIK İZMİR"),
    ("lower:az", "QIZ İKİ", "qız iki"), ("upper:az", "iki qız", "İKİ QIZ"),
    ("lower:lt", "JÌ Į\u0301", "ji\u0307\u0300 į\u0307\u0301"), ("upper:lt", "i\u0307\u0301", "Í"),
    ("lower", "IŞIK ΟΔΟΣ", "işik οδος"), ("upper", "straße", "STRASSE"), ("keep", "aB", "aB"),
]  # fmt: skip


@pytest.mark.parametrize(("case", "text", "right"), CASE_PAIRS)
def test_case_follows_the_language(case, text, right):
    assert with_case(case)(text) == unicodedata.normalize("NFC", right)
    assert with_case(case)(unicodedata.normalize("NFD", text)) == with_case(case)(text)


def test_a_languages_case_is_stored_beside_what_every_reader_knows(tmp_path):
    vocabulary = build_vocabulary(["IŞIK"], case="lower:tr", min_count=1)
    assert set(vocabulary.symbols[5:]) == set("ışk")
    stored = vocabulary.to_json()
    assert (stored["case"], stored["locale"]) == ("lower", "tr")
    assert Vocabulary.from_json(stored) == vocabulary
    vocabulary.save(tmp_path / "vocabulary.json")
    assert load_vocabulary(tmp_path / "vocabulary.json") == vocabulary
    assert "locale" not in Vocabulary(SPECIALS, "lower").to_json()
    with pytest.raises(InputError, match=r"case='lower:xx'.*lower:tr"):
        Vocabulary(SPECIALS, "lower:xx")


def read_back(vocabulary, text):
    """What a network that writes the symbols of a text is scored as."""
    ids = vocabulary.encode(text)
    spans = alignment.Alignment(
        ids, np.arange(len(ids)), np.arange(len(ids)) + 1, np.ones(len(ids))
    )
    said = alignment.text(spans, vocabulary.symbols)
    assert said == vocabulary.decode(ids)
    return score([vocabulary.normalise(text)], [said])


# Symbols as a vocabulary may hold them; in NFC some are two characters, some another one.
LETTERS = {
    "exclusions": "\u0995\u09df\u09dc\u0958", "parts": "\u0995\u09af\u09bc",
    "Hebrew": "\ufb2a\u05d0", "decomposed": "e\u0301n\u0303", "Angstrom": "\u212b\u00c5",
    "Hangul": "\u1112\u1161\u11ab",
    "Arabic": "\u0627\u0653\u06cc\u0654",
}  # fmt: skip


@pytest.mark.parametrize("name", LETTERS)
def test_a_letter_is_its_symbol_however_both_are_written(name):
    letters = LETTERS[name]
    vocabulary = Vocabulary((*SPECIALS, *letters), "keep")
    for form in ("NFC", "NFD"):
        text = unicodedata.normalize(form, letters)
        assert vocabulary.unknown([text, letters]) == {}
        assert 3 not in vocabulary.encode(text)
        assert read_back(vocabulary, text).wer == read_back(vocabulary, letters).cer == 0.0
        entries, unknown = spell([text], vocabulary)
        assert not unknown and set(entries[0][1]) <= {*letters, "|"}


@pytest.mark.parametrize("units", [PHONEMES, PIECES])
def test_what_is_heard_is_in_the_normal_form_of_its_reference_whatever_the_units(units):
    vocabulary = Vocabulary((*SPECIALS, "a\u0303", "\u200b", "b"), "keep", units)
    heard = vocabulary.decode([5, 6, 7])
    assert heard == vocabulary.normalise("a\u0303 b" if units == PHONEMES else "a\u0303b")


def test_what_a_vocabulary_lacks_is_counted_as_it_is_written():
    vocabulary = Vocabulary((*SPECIALS, *"e\u0301", BENGALI_YYA), "keep")
    assert vocabulary.unknown(["é " + BENGALI_YYA + "\u09af" + "x"]) == {"\u09af": 1, "x": 1}
    assert vocabulary.encode("ñ").tolist() == [3, 4]


def test_a_word_of_a_lexicon_with_a_space_is_refused_with_its_line(tmp_path):
    (tmp_path / "l.txt").write_text("a\ta |\na b\ta | b |\n")
    with pytest.raises(InputError, match=r"l\.txt, line 2: 'a b' is more than one word"):
        read_lexicon(tmp_path / "l.txt", ["|", "a", "b"])
    (tmp_path / "l.txt").write_text("a a |\nb  b |\n")  # spaces alone, as Kaldi has them
    assert read_lexicon(tmp_path / "l.txt", ["|", "a", "b"]) == [
        ("a", ("a", "|")),
        ("b", ("b", "|")),
    ]


def test_lexicons_and_hot_words_meet_symbols_in_the_normal_form(tmp_path):
    vocabulary = Vocabulary((*SPECIALS, "\u0995", BENGALI_YYA), "keep")
    apart = unicodedata.normalize("NFC", BENGALI_YYA)
    path = tmp_path / "lexicon.txt"
    path.write_text(f"\u0995{BENGALI_YYA}\t\u0995 {apart} |\n", "utf-8")
    entries = read_lexicon(path, vocabulary.symbols)
    assert entries[0][1] == ("\u0995", BENGALI_YYA, "|")
    for written in (BENGALI_YYA, apart):
        merged, hot = with_hot_words(entries, [("\u0995" + written, 2.0)], vocabulary)
        assert merged == entries and hot == ((entries[0][0], 2.0),)
