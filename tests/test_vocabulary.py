import unicodedata

import numpy as np
import pytest

from w2v2_jax.errors import InputError
from w2v2_jax.texts.choice import english, unicode
from w2v2_jax.vocabulary import (
    LIBRISPEECH,
    SPECIALS,
    Vocabulary,
    build_vocabulary,
    extend_vocabulary,
    load_vocabulary,
    make,
    make_vocabulary,
)


def test_librispeech_has_the_32_rows_of_the_released_checkpoints_in_order():
    rows = "<s> <pad> </s> <unk> | E T A O N I H S R D L U M W C F G Y P B V K ' X J Q Z"
    assert LIBRISPEECH.symbols == tuple(rows.split())
    assert len(LIBRISPEECH) == 32


def test_every_word_ends_with_the_boundary_also_the_last():
    ids = LIBRISPEECH.encode("  Hello\t world\n")
    assert ids.dtype == np.int32
    assert "".join(LIBRISPEECH.symbols[i] for i in ids) == "HELLO|WORLD|"
    assert LIBRISPEECH.encode("").shape == (0,)


def test_decode_inverts_encode_on_normalised_text():
    assert LIBRISPEECH.decode(LIBRISPEECH.encode("it's a test")) == "IT'S A TEST"


def test_decode_drops_the_silent_rows_and_shows_the_unknown():
    assert LIBRISPEECH.decode([0, 1, 5, 2, 4, 3, 4]) == "E <unk>"


def test_unknown_characters_become_unk_and_are_counted():
    assert LIBRISPEECH.encode("é9").tolist() == [3, 3, 4]
    assert LIBRISPEECH.unknown(["été 9", "99"]) == {"9": 3, "É": 2}


def test_composed_and_decomposed_unicode_have_the_same_ids():
    vocabulary = build_vocabulary(["été"], case="lower", min_count=1)
    decomposed = unicodedata.normalize("NFD", "ÉTÉ")
    assert vocabulary.encode(decomposed).tolist() == vocabulary.encode("été").tolist()


def with_symbols(*symbols):
    return Vocabulary((*LIBRISPEECH.symbols[:5], *symbols), "keep")


def test_a_character_whose_parts_alone_are_symbols_has_the_rows_of_its_parts():
    assert with_symbols("e", "\u0301").encode("\u00e9").tolist() == [5, 6, 4]
    assert with_symbols("e", "x").encode("\u00e9").tolist() == [3, 4]


def test_of_two_spellings_of_a_character_the_normal_one_has_its_row():
    ohm_sign, omega = "\u2126", "\u03a9"
    assert with_symbols(ohm_sign, omega).encode(ohm_sign + omega).tolist() == [6, 6, 4]
    assert with_symbols(omega, ohm_sign).encode(ohm_sign + omega).tolist() == [5, 5, 4]


def test_a_symbol_that_begins_with_another_is_read_whole():
    """Normal forms of two and of three characters, the first a part of the second."""
    shin_with_dagesh, and_shin_dot = "\ufb49", "\ufb2c"
    vocabulary = with_symbols(shin_with_dagesh, and_shin_dot)
    assert vocabulary.encode(and_shin_dot + shin_with_dagesh).tolist() == [6, 5, 4]


def test_extending_keeps_the_rows_and_adds_what_is_seen_often_enough():
    extended = extend_vocabulary(LIBRISPEECH, ["\u00e9\u00e9 1 1", "1 2"], min_count=2)
    assert extended.symbols == (*LIBRISPEECH.symbols, "1", "\u00c9") and extended.case == "upper"


def test_a_bar_in_the_text_is_a_space():
    assert LIBRISPEECH.encode("a|b").tolist() == LIBRISPEECH.encode("a b").tolist()


def test_built_vocabulary_is_ordered_by_frequency_then_code_point():
    vocabulary = build_vocabulary(["bb a", "Cab d"], case="lower", min_count=1)
    assert vocabulary.symbols[5:] == ("b", "a", "c", "d")
    assert build_vocabulary(["bb a"], case="keep", min_count=2).symbols[5:] == ("b",)


def test_save_then_load_gives_an_equal_vocabulary(tmp_path):
    vocabulary = build_vocabulary(["ñandú в поле"], case="upper", min_count=1)
    vocabulary.save(tmp_path / "vocabulary.json")
    assert load_vocabulary(tmp_path / "vocabulary.json") == vocabulary
    assert make_vocabulary(str(tmp_path / "vocabulary.json")) == vocabulary


@pytest.mark.parametrize("content", ["", "[]", '{"symbols": ["a"], "case": "upper"}'])
def test_a_damaged_file_is_named(tmp_path, content):
    path = tmp_path / "vocabulary.json"
    path.write_text(content)
    with pytest.raises(InputError):
        load_vocabulary(path)


def test_hugging_faces_vocabulary_names_the_remedy(tmp_path):
    (tmp_path / "vocab.json").write_text('{"<pad>": 0, "a": 1}')
    with pytest.raises(InputError, match=r"vocab\.json: not a vocabulary: it has no 'case'; name"):
        load_vocabulary(tmp_path / "vocab.json")


def test_bad_vocabularies_are_refused():
    with pytest.raises(InputError, match=r"case='title'.*upper, lower, keep"):
        Vocabulary(LIBRISPEECH.symbols, "title")
    with pytest.raises(InputError, match="different characters"):
        Vocabulary((*LIBRISPEECH.symbols, "E"), "upper")
    with pytest.raises(InputError, match=r"units='letters' is unknown; use characters"):
        Vocabulary(LIBRISPEECH.symbols, "upper", "letters")
    with pytest.raises(InputError, match="must be a text"):
        Vocabulary((*LIBRISPEECH.symbols, 5), "upper")
    with pytest.raises(InputError, match="does the corpus have transcripts"):
        build_vocabulary(["", " "], case="keep", min_count=1)


def test_names_are_looked_up_and_unknown_ones_list_the_known():
    assert make_vocabulary("librispeech") is LIBRISPEECH
    assert make_vocabulary("from_transcripts", ["ab"], case="upper").symbols[5:] == ("A", "B")
    with pytest.raises(InputError, match="librispeech, from_transcripts"):
        make_vocabulary("timit")
    with pytest.raises(InputError, match="give its case"):
        make_vocabulary("from_transcripts", ["ab"])


def test_a_file_names_units_only_where_they_are_no_characters():
    assert LIBRISPEECH.to_json().keys() == {"symbols", "case"}
    phonemes = Vocabulary((*SPECIALS, "sh", "iy"), "keep", "phonemes")
    assert phonemes.to_json()["units"] == "phonemes"


def test_pieces_follow_the_special_rows_and_need_their_model_to_split_texts(monkeypatch):
    monkeypatch.setattr(make, "read_model", lambda path: "model")
    monkeypatch.setattr(make, "pieces_of", lambda model: ("\u2581a", "b"))
    pieces = make_vocabulary("sentencepiece:x.model")
    assert pieces.symbols == (*SPECIALS, "\u2581a", "b") and pieces.model == "model"
    with pytest.raises(InputError, match="pieces of a sentencepiece model cannot be extended"):
        extend_vocabulary(pieces, ["c"], min_count=1)
    bare = Vocabulary(pieces.symbols, "keep", "sentencepiece")
    assert bare.decode([5, 6]) == "ab"
    with pytest.raises(InputError, match="no sentencepiece model to split texts"):
        bare.encode("ab")

    def refuse(model):
        raise InputError("no pieces")

    monkeypatch.setattr(make, "pieces_of", refuse)
    with pytest.raises(InputError, match=r"x\.model: no pieces"):
        make_vocabulary("sentencepiece:x.model")


def test_a_vocabulary_takes_the_rules_of_its_corpus_but_no_second_ones():
    ours = make_vocabulary("librispeech", rules=english())
    assert ours.rules == english() and LIBRISPEECH.rules is None
    assert make.with_rules(ours, english(), where="x") is ours
    assert make.with_rules(ours, None, where="x") is ours
    with pytest.raises(InputError, match=r"x has the text rules english, .* --text unicode"):
        make.with_rules(ours, unicode(), where="x")
    with pytest.raises(InputError, match="--text english takes phonemes like h# apart"):
        make_vocabulary("phonemes", ["h# sh"], rules=english())


def test_what_was_heard_is_written_by_the_rules_if_there_are_some():
    assert LIBRISPEECH.as_scored("It's 5") == "IT'S 5"  # its case, which a lexicon need not have
    assert LIBRISPEECH.as_scored("It's 5", words=False) == "It's 5"
    ours = make_vocabulary("librispeech", rules=english())
    assert ours.as_scored("it's a-b <unk> 5") == "IT'S A B <unk> FIVE"


def test_a_token_is_outside_a_language_if_all_its_characters_are():
    german = Vocabulary((*SPECIALS, "a"), "keep", rules=unicode("de"))
    assert german.is_outside("\u0436") and not german.is_outside("a\u0436")
    assert not LIBRISPEECH.is_outside("\u0436")
