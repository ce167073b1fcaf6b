"""A tokenizer's files -> our vocabulary and the rows behind it, at the edges of the head."""

import json

import pytest

from tests.helpers.interop_cases import edit
from w2v2_jax.errors import InputError
from w2v2_jax.interop import tokenizer
from w2v2_jax.vocabulary import SPECIALS, Vocabulary


@pytest.fixture
def folder(tmp_path):
    """Files of the five special symbols, A and B: rows 0 to 6."""
    tokenizer.write(tmp_path, Vocabulary((*SPECIALS, "A", "B"), "upper"))
    return tmp_path


def test_the_files_name_the_special_symbols_and_their_rows(folder):
    special = json.loads((folder / "special_tokens_map.json").read_text())
    assert special == {
        "pad_token": "<pad>", "bos_token": "<s>", "eos_token": "</s>", "unk_token": "<unk>"
    }  # fmt: skip
    rows = json.loads((folder / "vocab.json").read_text())
    assert list(rows) == ["<pad>", "<s>", "</s>", "<unk>", "|", "A", "B"]
    assert list(rows.values()) == list(range(7))


def test_a_symbol_beyond_the_head_is_left_out(folder):
    edit(folder / "vocab.json", C=7, D=8)
    read = tokenizer.read(folder, classes=7, blank=0)
    assert read.vocabulary.symbols[5:] == ("A", "B")
    assert read.rows == (0, 1, 2, 3, 4, 5, 6)


def test_a_row_of_the_head_without_a_symbol_is_refused(folder):
    for classes, row in ((8, 7), (9, 7)):
        with pytest.raises(InputError, match=f"no symbol for row {row} of the head"):
            tokenizer.read(folder, classes=classes, blank=0)
    ids = json.loads((folder / "vocab.json").read_text())
    del ids["A"]
    (folder / "vocab.json").write_text(json.dumps(ids))
    with pytest.raises(InputError, match="no symbol for row 5 of the head"):
        tokenizer.read(folder, classes=7, blank=0)


@pytest.mark.parametrize("symbol", ["C", "<unk>"])
def test_a_row_below_0_is_refused_and_does_not_count_from_the_end(folder, symbol):
    edit(folder / "vocab.json", **{symbol: -3})
    with pytest.raises(InputError, match=rf"vocab.json: '{symbol}' is row -3; rows are counted"):
        tokenizer.read(folder, classes=7, blank=0)


def test_a_symbol_of_two_characters_and_a_row_of_two_symbols_are_refused(folder):
    edit(folder / "vocab.json", AB=7)
    with pytest.raises(InputError, match="'AB' is not one character"):
        tokenizer.read(folder, classes=8, blank=0)
    edit(folder / "vocab.json", AB=6)
    with pytest.raises(InputError, match="gives row 6 to both 'AB' and 'B'"):
        tokenizer.read(folder, classes=7, blank=0)


def test_letters_without_case_are_kept_where_nothing_is_said_of_lowering(folder):
    tokenizer.write(folder, Vocabulary((*SPECIALS, *"אב"), "keep"))
    settings = json.loads((folder / "tokenizer_config.json").read_text())
    del settings["do_lower_case"]
    (folder / "tokenizer_config.json").write_text(json.dumps(settings))
    assert tokenizer.read(folder, classes=7, blank=0).vocabulary.case == "keep"


def test_the_blank_is_both_the_padding_symbol_and_the_row_that_config_json_names(folder):
    with pytest.raises(InputError, match=r"'<pad>' is row 0 .* pad_token_id=1"):
        tokenizer.read(folder, classes=7, blank=1)
    edit(folder / "tokenizer_config.json", pad_token="<none>")
    with pytest.raises(InputError, match="'<none>' is row None"):
        tokenizer.read(folder, classes=7, blank=0)


@pytest.mark.parametrize("stray", [{}, {"A": 3}])
def test_a_vocabulary_a_language_needs_the_name_of_one(folder, stray):
    ids = json.loads((folder / "vocab.json").read_text())
    (folder / "vocab.json").write_text(json.dumps({"eng": ids, "fra": {**ids, "C": 7}, **stray}))
    assert tokenizer.read(folder, classes=8, blank=0, language="fra").vocabulary.symbols[-1] == "C"
    for target in ("deu", ["eng"], *stray):
        edit(folder / "tokenizer_config.json", target_lang=target)
        with pytest.raises(InputError, match="has no target_lang that names one; choose one with"):
            tokenizer.read(folder, classes=7, blank=0)
    edit(folder / "tokenizer_config.json", target_lang="eng")
    assert tokenizer.read(folder, classes=7, blank=0).vocabulary.symbols[-1] == "B"
