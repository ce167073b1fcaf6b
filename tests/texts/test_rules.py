# ruff: noqa: RUF001  (letters that look alike are what this is about)
"""Rules that make spoken words of written text."""

import json
import sys

import pytest

from tests.helpers.text_cases import RULES, random_texts
from w2v2_jax.errors import InputError
from w2v2_jax.texts import CASES
from w2v2_jax.texts.choice import english, read_choice, unicode
from w2v2_jax.texts.numbers import IN_DOUBT, SPELLED
from w2v2_jax.texts.rules import DIGITS, OUTSIDE, TextRules
from w2v2_jax.vocabulary import SPECIALS, Vocabulary

num2words = pytest.importorskip("num2words")

ENGLISH = {
    "Don\u2019t STOP!": "don't stop", "the 3rd": "the third", "$5": "five dollars",
    "$1": "one dollar", "$5.50": "five dollars fifty cents", "$3 million": "three million dollars",
    "10:30": "ten thirty", "10:05": "ten oh five", "10:00": "ten o'clock",
    "1,234": "one thousand two hundred and thirty four", "3.14": "three point one four",
    "50%": "fifty percent", "in 1990.": "in nineteen ninety", "the '90s": "the nineties",
    "007": "zero zero seven", "-5": "minus five", "2\u00bd": "two and a half", "mp3": "mp three",
    "3 $5 bills": "three five dollars bills", "R&B": "r and b",
    "na\u00efve caf\u00e9": "naive cafe",
    "\u201cwell-known\u201d": "well known", "'quoted'": "quoted", "\ufb01ne": "fine",
    "\u0663 \u0967\u0968 \uff11": "three twelve one", "a\u200fb": "ab", "he\u200dllo": "hello",
    "\u2026 \u2014 ?!": "", "22nd": "twenty second", "9" * 16: " ".join(["nine"] * 16),
}  # fmt: skip


@pytest.mark.parametrize("text", ENGLISH)
def test_english_is_written_as_it_is_spoken(text):
    assert english().normalise(text) == ENGLISH[text]


ENGLISH |= {
    ".5": "point five", "-.5": "minus point five", ".5%": "point five percent",
    "1.10": "one point one zero", "$.50": "fifty cents", "-$5": "minus five dollars",
    "$-5": "minus five dollars", "50\u00a2": "fifty cents", "\u20ac5,50": "five euros fifty cents",
    "10.30pm": "ten thirty pm", "10:00 a.m.": "ten a m", "24:00": "twenty four o'clock",
    "$5m": "five million dollars", "\u00a31.5bn": "one point five billion pounds",
    "$2 bn": "two billion dollars", "$5k": "five thousand dollars", "$5 m": "five million dollars",
    "10s": "ten seconds", "10s of": "tens of", "the '10s": "the tens", "100s": "hundreds",
    "2010s": "twenty tens", "US$5": "five dollars", "-5%": "minus five percent",
    "1\u00a0234": "one thousand two hundred and thirty four", "3 000": "three thousand",
    "1,00,000": "one hundred thousand", "end.5": "end five",
}  # fmt: skip
LANGUAGES = [
    ("it", "3,14 e 12,05", "tre virgola quattordici e dodici virgola zero cinque"),
    ("cy", "3.14 0.05", "tri pwynt un pedwar dim pwynt dim pump"),
    ("fa", "0.05 3.14", "صفر ممیز صفر پنج سه ممیز چهارده"),
    ("vi", "0,5 3,145", "không phẩy năm ba phẩy một trăm bốn mươi lăm"),
    ("bn", "0.05", "শূন্য দশমিক শূন্য পাঁচ"), ("es", "3,14", "tres coma catorce"),
    ("ru", "1% 11% 22%", "один процент одиннадцать процентов двадцать два процента"),
    ("ru", "1,5%", "одна целая пять десятых процента"), ("cs", "2 %", "dvě procenta"),
    ("fr", "10 000", "dix mille"), ("ru", "1\u00a0000", "одна тысяча"),
    ("cs", "2\u202f000", "dva tisíce"), ("sv", "5 100", "femtusen etthundra"),
    ("fr", "12 345,50 €", "douze mille trois cent quarante cinq euros cinquante centimes"),
    ("fr", "06 12 34", "zéro six douze trente quatre"), ("fr", "5 100 1", "cinq cent un"),
    ("de", "$5.50", "fünf dollar fünfzig cent"), ("fr", "0,50 €", "cinquante centimes"),
    ("pt", "R$ 5,50", "cinco reais e cinquenta centavos"), ("pt", "R$1", "um real"),
    ("pt", "R$ 1,5 milhão", "um vírgula cinco milhão de reais"), ("pt", "2ª", "segunda"),
    ("es", "1ª 21.ª 3.º", "primera vigésima primera tercero"), ("fr", "1re", "première"),
    ("fr", "$5 millions", "cinq millions de dollars"), ("es", "$5 mil", "cinco mil dólares"),
    ("tr", "IŞIK İZMİR'de %50", "ışık izmir'de yüzde elli"),
    ("tr", "3,14", "üç virgül ondört"),
    ("de", "Straße, GROẞ: 3,5 kg", "straße groß drei komma fünf kg"),
    ("de", "1.000 € für Café", "eintausend euro für cafe"),
    ("fr", "L\u2019homme, 1er", "l'homme premier"),
    ("ar", "كـــتاب \u0661\u0662", "كتاب اثنا عشر"),
    ("ru", "Ёлка 21", "ёлка двадцать один"),
    ("", "हिन्दी। क्\u200dष", "हिन्दी क्\u200dष"),
    ("", "می\u200cروم؟", "می\u200cروم"),
    ("", "ΟΔΟΣ Été", "οδος été"),
    ("", "a_b@c", "a b c"),
]  # fmt: skip


@pytest.mark.parametrize(("language", "text", "right"), LANGUAGES)
def test_a_languages_case_numbers_and_letters_are_its_own(language, text, right):
    assert unicode(language).normalise(text) == right


@pytest.mark.parametrize("name", RULES)
def test_what_the_rules_made_they_leave(name):
    for text in random_texts(600):
        once = RULES[name].normalise(text)
        assert RULES[name].normalise(once) == once, ascii(text)
        assert RULES[name].explain(text)[0] == once


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("name", ["english", "unicode:tr", "unicode"])
def test_a_vocabulary_leaves_what_it_made(name, case):
    vocabulary = Vocabulary((*SPECIALS, *"ab"), case, rules=RULES[name])
    for text in random_texts(150, seed=1):
        once = vocabulary.normalise(text)
        assert vocabulary.normalise(once) == vocabulary.as_scored(once) == once, ascii(text)


WRITTEN = (
    "0", "21", "1999", "1,234.5", "1.234,5", "0.05", "$5.50", "5 \u20ac", "10:30", "-5", "50%",
    "007", "12345678", "999999999999", "9" * 20, ".5", "3.14159265", "1 000", "10:30:15",
)  # fmt: skip


def test_every_language_of_num2words_says_every_number():
    for language in sorted(num2words.CONVERTER_CLASSES):
        rules = unicode(language)
        for text in WRITTEN:
            spoken = rules.normalise(text)
            assert spoken and not any(c.isdecimal() for c in spoken), (language, text, spoken)
            assert rules.normalise(spoken) == spoken, (language, text)


def kinds(rules, text):
    return [(kind, before) for kind, before, _ in rules.explain(text)[1]]


@pytest.mark.parametrize("text", ["5,50", "12.05.2023", "1:00:30", "5-10", "$5-10", "12 345"])
def test_a_number_that_english_does_not_write_is_in_doubt(text):
    assert IN_DOUBT in [kind for kind, _ in kinds(english(), f"at {text} then")]


@pytest.mark.parametrize("text", ["5.50", "12,345", "10:30", "1990", "007", "$5,50", "-3"])
def test_a_number_that_english_writes_is_not_in_doubt(text):
    assert IN_DOUBT not in [kind for kind, _ in kinds(english(), f"at {text} then")]


def test_hyphens_of_number_words_are_not_told_as_punctuation_of_the_text():
    assert kinds(english(), "21 cats") == [("numbers spelled", "21")]
    assert TextRules(numbers="en", punctuation="space", inside="-").normalise("21") == "twenty-one"


def test_letters_of_other_languages_stay_and_are_told():
    text, changes = english().explain("北京 na\u00efve")
    assert text == "北京 naive"
    assert [(c.kind, c.before) for c in changes if c.kind == OUTSIDE] == [
        (OUTSIDE, "北"), (OUTSIDE, "京")
    ]  # fmt: skip


def test_signs_that_may_be_spoken_are_told_one_by_one():
    assert kinds(unicode(), "5₽ ½ ok.") == [
        ("symbol", "₽"), ("punctuation", "."), (DIGITS, "5"), (DIGITS, "\u00bd"),
    ]  # fmt: skip


def test_an_own_file_changes_one_of_the_choices(tmp_path):
    path = tmp_path / "own.json"
    path.write_text('{"like": "unicode:tr", "inside": "\'-", "replace": {"&": " ve "}}')
    rules = read_choice(str(path))
    assert (
        rules.normalise("Ali-Veli & IŞIK 3") == "ali-veli ve ışık üç" and rules.name == "own.json"
    )
    assert TextRules.from_json(json.loads(json.dumps(rules.to_json())), where="x") == rules


def test_only_what_belongs_inside_stays_between_two_letters():
    rules = TextRules(punctuation="space", inside="-")
    assert rules.normalise("don't re-do - 'it'-") == "don t re-do it"
    assert TextRules(punctuation="space").normalise("rock 'n' don't") == "rock n don't"


BAD_FILES = {
    '{"cas": "lower"}': "'cas' is no text rule; known: name, apostrophes",
    '{"case": "lower:xx"}': r"case='lower:xx'; use one of upper, lower",
    '{"apostrophes": 1}': "apostrophes=1 must be a boolean",
    '{"replace": {"a": "aa"}}': "replace 'a': what it becomes holds a text to replace again",
    '{"replace": {"B": "a", "a": "b"}, "case": "lower"}': "to replace again",
    '{"replace": {"": "x"}}': "replace '': nothing is no text to replace",
    '{"replace": {"a": 1}}': "replace maps texts to texts",
    '{"like": "x.json"}': "like='x.json'; use english",
    '{"numbers": "xx"}': "num2words has no numbers in 'xx'; known: am, ar",
    "[]": "one JSON object", "{": "not JSON",
}  # fmt: skip


@pytest.mark.parametrize("content", BAD_FILES)
def test_a_file_of_bad_rules_is_one_line(tmp_path, content):
    path = tmp_path / "rules.json"
    path.write_text(content)
    with pytest.raises(InputError, match=BAD_FILES[content]) as error:
        read_choice(str(path))
    assert str(path) in str(error.value)


def test_unknown_choices_list_the_known():
    assert read_choice(None) is None and read_choice("none") is None
    with pytest.raises(InputError, match=r"--text klingon is unknown; use english, unicode"):
        read_choice("klingon")
    with pytest.raises(InputError, match=r"gone\.json: no such file"):
        read_choice("gone.json")


def test_without_num2words_the_remedy_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "num2words", None)
    with pytest.raises(InputError, match=r"--text english.* pip install num2words"):
        read_choice("english")
    assert english().normalise("No digits here.") == "no digits here"


@pytest.mark.parametrize(
    ("language", "text", "words"),
    [
        ("de", "am 3. Mai", "am drei mai"),
        ("cs", "3. května", "tři května"),
        ("tr", "3. gün", "üç gün"),
        ("ru", "5-й день", "пять й день"),
        ("de", "1990er", "neunzehnhundertneunzig er"),
    ],
)
def test_what_may_be_an_ordinal_or_has_an_ending_is_in_doubt(language, text, words):
    assert unicode(language).normalise(text) == words
    assert {kind for kind, _ in kinds(unicode(language), text)} & {IN_DOUBT, SPELLED} == {IN_DOUBT}


@pytest.mark.parametrize(("language", "text"), [("de", "ich habe 3."), ("fr", "la 2e fois")])
def test_the_end_of_a_sentence_and_a_written_ordinal_are_no_doubt(language, text):
    assert IN_DOUBT not in {kind for kind, _ in kinds(unicode(language), text)}
