# ruff: noqa: RUF001  (letters that look alike are what this is about)
"""Numbers, their nouns, times, fractions and signs as they are spoken."""

import pytest

from w2v2_jax.texts.choice import english, unicode
from w2v2_jax.texts.numbers import IN_DOUBT, UNIT
from w2v2_jax.texts.rules import DIGITS, ROMAN

pytest.importorskip("num2words")

SPOKEN = """
de | 1 Euro, 1 Krone, 1 Mio. Menschen | ein euro eine krone eine million menschen
de | Kapitel 1 ist kurz | kapitel eins ist kurz
de | um 10:30 Uhr, 10.05 Uhr, 1 Uhr | um zehn uhr dreißig zehn uhr fünf ein uhr
de | 1 % von 1990 | ein prozent von neunzehnhundertneunzig
de | 5'000 Leute | fünftausend leute
de | 2½ Stunden | zweieinhalb stunden
de | -5 Grad (–3) | minus fünf grad minus drei
fr | 2 000 000 de personnes | deux millions de personnes
fr | 2 000 000 personnes | deux millions de personnes
fr | 1 personne | une personne
fr | 10h30, 21h, 10:05 | dix heures trente vingt et une heures dix heures cinq
fr | 3,25 et 3,05 | trois virgule vingt cinq et trois virgule zéro cinq
fr | 1½ % | un et demi pour cent
es | 1 millón, 21 millones, 1 hora | un millón veintiún millones una hora
es | 21.000 y 21 años | veintiún mil y veintiún años
es | 200 personas, 200 kilos | doscientas personas doscientos kilos
es | 1 de enero, 1% | uno de enero uno por ciento
es | 1:30 y 14:05 h | una treinta y catorce cero cinco
es | 3er piso, 1er día | tercer piso primer día
it | 1 milione, 1 giorno, 1 volta | un milione un giorno una volta
it | 1.000.000 persone | un milione di persone
it | 2½ | due e mezzo
pt | 2 pessoas, 2 libras, 22 mil horas | duas pessoas duas libras vinte e duas mil horas
cs | 3,5 a 0,5 a 2,5 a 5,25 | tři celé pět a nula celá pět a dvě celé pět a pět celých dvacet pět
cs | 1 koruna, 2 hodiny, 2 miliardy | jedna koruna dvě hodiny dvě miliardy
cs | 1 %, 2 %, 5 %, 1,5 % | jedno procento dvě procenta pět procent jedna celá pět procenta
cs | 555 a 200 a -5 | pět set padesát pět a dvě stě a minus pět
cs | 2:30 | dvě třicet
sk | 3,5 | tri celé päť
sv | 1 miljon, 1 år, 1 krona, 1 % | en miljon ett år en krona en procent
sv | 21 000 och 1 000 och 2 000 001 | tjugoettusen och ettusen och två miljoner ett
sv | 3,14 år 1990 | tre komma fjorton år nittonhundranittio
sv | 3:e och 1:a | tredje och första
ru | 2 минуты, 1 минута, 2 млн | две минуты одна минута два миллиона
ru | −5 и (-5) | минус пять и минус пять
ru | 2½ часа | два с половиной часа
cy | -5 5% 1af 3ydd | meinws pump pump y cant cyntaf trydydd
cy | 2½ | dau a hanner
no | 2 000 000 000 | to milliarder
da | 1 000 000 | en million
tr | -1 | eksi bir
vi | -1 | âm một
th | -1 | ลบ หนึ่ง
fr | 80e, 80ème, 180e | quatre vingtième quatre vingtième cent quatre vingtième
fr | 200e et 300e et 500e | deux centième et trois centième et cinq centième
fr | 1 000 000e et 200 000 000e | millionième et deux cent millionième
fr | 2nd, 2nde, 2e, 3èmes, 1ères | second seconde deuxième troisièmes premières
es | 11º, 12º, 11ª, 13º | undécimo duodécimo undécima décimo tercero
tr | -%5, –%1,5, %-5 | eksi yüzde beş eksi yüzde bir virgül beş eksi yüzde beş
tr | 5 milyar, 10 bin | beş milyar on bin
en | No.1, No. 5, no.5, № 5 | number one number five number five number five
de | Nr. 5, Nr.1 | nummer fünf nummer eins
fr | n° 5, nº 1, No. 5 | numéro cinq numéro un numéro cinq
es | n.º 5, núm. 1 | número cinco número uno
ru | № 5 | номер пять
it | 5 mln lire | cinque milioni di lire
en | 1°, 1°C, 5 °F | one degree one degree celsius five degrees fahrenheit
en | -5°, 90º | minus five degrees ninety degrees
en | ５．５ and ５％ | five point five and five percent
en | ~-5, ≥-5, >−5 | minus five minus five minus five
en | 2⅕ | two and a fifth
en | 1½% of 5bn | one and a half percent of five billion
en | (-5), “-5”, –5, −5 | minus five minus five minus five minus five
en | ⅓ or 2⅛ | a third or two and an eighth
"""
ROWS = [tuple(row.split(" | ")) for row in SPOKEN.strip().splitlines()]
DOUBTS = """
es | 1 perro | un perro
es | 200 perros | doscientos perros
de | 1 Haus | ein haus
fr | 1 femme | un femme
cs | 1 pes | jeden pes
sv | 1 hus | en hus
ru | 2 книги | два книги
ru | в 1990 году | в одна тысяча девятьсот девяносто году
pl | w 1990 roku | w tysiąc dziewięćset dziewięćdziesiąt roku
fr | 2½ heures | deux et demi heures
de | ½ Liter | ein halb liter
en | 3–5 | three five
en | 3−5 | three five
en | £5m-£10m | five million pounds ten million pounds
en | 20 7946 | twenty seven thousand nine hundred and forty six
sv | 1:50 kr | ett femtio kr
de | 5,- | fünf
en | 5/12 | five twelve
en | '90-'91 | ninety ninety one
en | 1.000 people | one point zero zero zero people
cy | 21 | un ar hugain
en | -10--5 | minus ten five
en | 5/-5 | five five
en | No 5 | no five
en | no. 5 | no five
en | No. 5 people came | number five people came
en | 1.5th | one point five
en | $5/hr | five dollars hr
en | 5/day | five day
en | 5's | five s
en | 5'10 | five ten
de | 5 €/kg | fünf euro kg
fr | 5 Mio habitants | cinq millions habitants
tr | 5'te | beş te
ru | 1:00 | один
pl | 10:30 | dziesięć trzydzieści
uk | 10:30 | десять тридцять
"""
DOUBTFUL = [tuple(row.split(" | ")) for row in DOUBTS.strip().splitlines()]


RAISED = {
    "5²": "five two", "m²": "m two", "５²": "five two", "①": "one", "㎡": "m two",
    "10³": "ten three", "⅐": "one seven",
}  # fmt: skip


def kinds(language, text):
    return {change.kind for change in unicode(language).explain(text)[1]}


@pytest.mark.parametrize(("language", "text", "right"), ROWS)
def test_a_number_is_written_as_it_is_spoken(language, text, right):
    assert unicode(language).normalise(text) == right
    assert IN_DOUBT not in kinds(language, text)


@pytest.mark.parametrize(("language", "text", "words"), DOUBTFUL)
def test_what_cannot_be_known_is_told_as_in_doubt(language, text, words):
    assert unicode(language).normalise(text) == words
    assert IN_DOUBT in kinds(language, text)


@pytest.mark.parametrize(("text", "words"), RAISED.items())
def test_a_raised_or_other_digit_that_becomes_a_plain_one_is_told_as_in_doubt(text, words):
    settled, changes = english().explain(text)
    assert settled == words and IN_DOUBT in {change.kind for change in changes}


def test_a_fraction_in_english_is_no_doubt():
    assert IN_DOUBT not in {change.kind for change in english().explain("2½ and ⅗")[1]}


@pytest.mark.parametrize(
    ("language", "text", "unit"), [("en", "99c", "c"), ("en", "5 c", "c"), ("pt", "5 mi", "mi")]
)
def test_a_letter_that_may_be_a_coin_or_a_mile_stays_and_is_told(language, text, unit):
    changes = unicode(language).explain(text)[1]
    assert [c.before for c in changes if c.kind == UNIT] == [unit]


@pytest.mark.parametrize("language", ["en", "de", "ru", "cy"])
def test_an_abbreviation_of_a_unit_stays_and_is_told(language):
    changes = unicode(language).explain("5 km")[1]
    assert [c.before for c in changes if c.kind == UNIT] == ["km"]
    assert UNIT not in kinds(language, "5 kmx")


@pytest.mark.parametrize("sign", "%&@#§″‰^")
def test_signs_that_are_spoken_are_no_punctuation(sign):
    told = [(c.kind, c.before) for c in unicode("de").explain(f"ein {sign} da")[1]]
    assert ("symbol", sign) in told


def test_a_fraction_without_words_and_a_roman_numeral_stay_and_are_told():
    assert DIGITS in kinds("id", "2½") and DIGITS in kinds("de", "⅞")
    told = unicode("fr").explain("Louis XIV et I, VIVE le XXe, MIX")[1]
    assert [c.before for c in told if c.kind == ROMAN] == ["XIV", "XX"]
    assert ROMAN not in {c.kind for c in english().explain("I saw VIVE")[1]}


@pytest.mark.parametrize("language", ["en", "de", "cs"])
@pytest.mark.parametrize("form", ["{}", "${}", "{} %", "-{}", "{} km", "1.{}", "{}½", "{}-{}"])
def test_more_digits_than_python_takes_for_a_number_are_read_one_by_one(language, form):
    """Python refuses to read more than 4300 digits as a number."""
    text = form.replace("{}", 4400 * "7")
    words = unicode(language).normalise(text).split()
    assert max(words.count(word) for word in set(words)) >= 4399
