"""Vocabularies of phonemes and of pieces in Hugging Face's files and in fairseq's dictionaries."""

import json

import numpy as np
import pytest

from tests.helpers.interop_cases import edit, random_checkpoint
from tests.helpers.symbol_cases import (
    PHONES,
    espeak_vocabulary,
    phoneme_vocabulary,
    piece_vocabulary,
    saying,
)
from w2v2_jax.decode.make import DecoderSettings, make
from w2v2_jax.errors import InputError
from w2v2_jax.export.deployment import TEXTS
from w2v2_jax.interop import dictionary, hugging_face, tokenizer
from w2v2_jax.texts.choice import unicode
from w2v2_jax.vocabulary import BLANK, BOUNDARY, SPECIALS, UNKNOWN, Vocabulary

TUNED = ("encoder", "head")


@pytest.fixture(params=["phonemes", "espeak", "unigram", "bpe", "characters by rules"])
def vocabulary(request, tmp_path):
    if request.param == "phonemes":
        return phoneme_vocabulary()
    if request.param == "espeak":
        return espeak_vocabulary()
    if request.param == "characters by rules":
        return Vocabulary((*SPECIALS, *"abc'"), "lower", rules=unicode())
    return piece_vocabulary(tmp_path, kind=request.param)


def test_a_vocabulary_comes_back_from_the_tokenizers_files(vocabulary, tmp_path):
    folder = tmp_path / "hf"
    folder.mkdir()
    tokenizer.write(folder, vocabulary)
    rows = tokenizer.read(folder, classes=len(vocabulary), blank=0)
    assert rows == (vocabulary, tuple(range(len(vocabulary))))


def test_the_files_of_an_espeak_checkpoint_are_read(tmp_path):
    symbols = ["<pad>", "<s>", "</s>", "<unk>", "n", "a\u026a", "t\u0283", "\u0254\u0303"]
    (tmp_path / "vocab.json").write_text(json.dumps({s: k for k, s in enumerate(symbols)}))
    settings = {
        "tokenizer_class": tokenizer.PHONEME_CLASS, "word_delimiter_token": None,
        "phone_delimiter_token": " ", "do_phonemize": True, "phonemizer_backend": "espeak",
    }  # fmt: skip
    (tmp_path / "tokenizer_config.json").write_text(json.dumps(settings))
    found = tokenizer.read(tmp_path, classes=8, blank=0)
    assert found.vocabulary == Vocabulary((*SPECIALS, *symbols[4:]), "keep", "phonemes")
    assert found.rows == (0, 1, 2, 3, None, 4, 5, 6, 7)
    assert found.vocabulary.decode([6, 5, 7]) == "a\u026a n t\u0283"


def test_a_bar_that_is_a_phoneme_is_refused_as_it_ends_words_here(tmp_path):
    tokenizer.write(tmp_path, espeak_vocabulary())
    edit(tmp_path / "tokenizer_config.json", word_delimiter_token=None)
    with pytest.raises(InputError, match=r"vocab\.json: vocabulary: .* phonemes: \['\|'\]"):
        tokenizer.read(tmp_path, classes=11, blank=0)


def test_two_files_that_name_other_symbols_are_refused(tmp_path):
    tokenizer.write(tmp_path, Vocabulary((*SPECIALS, *"ab"), "lower", rules=unicode()))
    content = json.loads((tmp_path / "vocab.json").read_text())
    del content["b"]
    (tmp_path / "vocab.json").write_text(json.dumps(content | {"c": 6}))
    with pytest.raises(InputError, match=r"vocabulary\.json and vocab\.json differ"):
        tokenizer.read(tmp_path, classes=7, blank=0)


def test_symbols_that_are_no_phonemes_are_named_with_their_file(tmp_path):
    tokenizer.write(tmp_path, espeak_vocabulary())
    edit(tmp_path / "vocab.json", **{"n": 99, "n m": 5})
    with pytest.raises(InputError, match=r"vocab\.json: vocabulary: .* phonemes: \['n m'\]"):
        tokenizer.read(tmp_path, classes=11, blank=0)


def test_a_vocabulary_file_names_the_rows_of_other_heads(tmp_path):
    vocabulary = phoneme_vocabulary()
    vocabulary.save(tmp_path / "vocabulary.json")
    symbols = dictionary.read_symbols(tmp_path / "vocabulary.json")
    known = dictionary.like(tmp_path / "vocabulary.json")
    rows = dictionary.to_rows(symbols, classes=len(symbols), where="x", vocabulary=known)
    assert rows == (vocabulary, tuple(range(len(symbols))))
    assert dictionary.like("dict.ltr.txt") is None and dictionary.like(None) is None


def test_what_a_deployed_model_prints_is_what_we_print(vocabulary):
    ids = [5, 6, 7, 8, 4, 6]
    kept = [vocabulary.symbols[i] for i in ids]
    assert eval(TEXTS[vocabulary.units][1], {"kept": kept}) == vocabulary.decode(ids)


@pytest.mark.parity
def test_transformers_writes_the_same_text(vocabulary, tiny, tmp_path):
    transformers = pytest.importorskip("transformers")
    checkpoint = random_checkpoint(tiny, parts=TUNED, vocabulary=vocabulary)
    hugging_face.save(checkpoint, tmp_path / "hf")
    processor = transformers.AutoProcessor.from_pretrained(tmp_path / "hf")
    theirs = transformers.AutoModelForCTC.from_pretrained(tmp_path / "hf")
    assert theirs.config.vocab_size == len(vocabulary)
    assert hugging_face.load(tmp_path / "hf").description.vocabulary == vocabulary
    rng = np.random.default_rng(0)
    texts = [rng.integers(5, len(vocabulary), 30) for _ in range(8)]
    for ids in texts:
        logits = saying(ids, len(vocabulary))
        ours = make(DecoderSettings(), vocabulary)(logits)[0].text
        text = processor.batch_decode(logits.argmax(-1)[None])[0]
        assert " ".join(text.split()) == ours and len(ours) > 20


@pytest.mark.parity
def test_transformers_cuts_phonemes_as_we_do(tiny, tmp_path):
    transformers = pytest.importorskip("transformers")
    vocabulary = phoneme_vocabulary()
    tokenizer.write(tmp_path, vocabulary)
    theirs = transformers.AutoTokenizer.from_pretrained(tmp_path)
    assert theirs(PHONES[0]).input_ids == vocabulary.encode(PHONES[0]).tolist()


def test_marks_of_symbols_in_a_text_are_characters_here_and_symbols_to_transformers(tmp_path):
    vocabulary = Vocabulary((*SPECIALS, *"ABS"), "upper")
    a, s, end = vocabulary.symbols.index("A"), vocabulary.symbols.index("S"), BOUNDARY
    ours = vocabulary.encode("A <s> A").tolist()
    assert ours == [a, end, UNKNOWN, s, UNKNOWN, end, a, end]
    assert vocabulary.decode(ours) == "A <unk>S<unk> A"
    transformers = pytest.importorskip("transformers")
    rows = {symbol: row for row, symbol in enumerate(vocabulary.symbols)}
    (tmp_path / "vocab.json").write_text(json.dumps(rows))
    theirs = transformers.Wav2Vec2CTCTokenizer(str(tmp_path / "vocab.json"))
    assert theirs("A <s> A").input_ids == [a, BLANK, a]
