# ruff: noqa: RUF001  (letters that look alike are what this is about)
"""Amounts of money as they are spoken."""

import pytest

from w2v2_jax.texts.choice import unicode
from w2v2_jax.texts.currencies import _ROWS, currencies
from w2v2_jax.texts.numbers import IN_DOUBT, SPELLED

pytest.importorskip("num2words")

AMOUNTS = """
fr | 2 000 000 € | deux millions d'euros
fr | 2 500 000 € | deux millions cinq cent mille euros
fr | 5 millions € | cinq millions d'euros
fr | 5 millions d'€ | cinq millions d'euros
fr | 5 M€, 3 Md€, 3 k€ | cinq millions d'euros trois milliards d'euros trois mille euros
fr | 3 milliards de $ | trois milliards de dollars
fr | 1 £ et 21 £ | une livre et vingt et une livres
fr | 1,5 € | un virgule cinq euro
fr | 5 $US | cinq dollars
es | 2.000.000 € | dos millones de euros
es | 2.500.000 € | dos millones quinientos mil euros
es | 1 € y 21 € | un euro y veintiún euros
es | £200 y £200.000 | doscientas libras y doscientas mil libras
es | £21.000 y £200k | veintiuna mil libras y doscientas mil libras
es | £200.000.000 | doscientos millones de libras
es | $5 mil millones | cinco mil millones de dólares
es | 5 mil millones de € | cinco mil millones de euros
es | 5,50 € | cinco euros con cincuenta céntimos
it | 2.000.000 € | due milioni di euro
it | 5 mln € | cinque milioni di euro
it | 1 € e ¥1 | un euro e uno yen
pt | 2.000.000 € | dois milhões de euros
pt | 2.500.000 € | dois milhões e quinhentos mil euros
pt | R$ 5 mi | cinco milhões de reais
pt | £2 e £200 | duas libras e duzentas libras
pt_BR | 5,50 € | cinco euros e cinquenta centavos
ca | 2.000.000 € | dos milions d'euros
ca | 5 milions € | cinc milions d'euros
de | 5 Mio. € | fünf millionen euro
de | 3 Mrd. € | drei milliarden euro
de | 1 Mio. Euro | eine million euro
de | 2,1 Mio. € | zwei komma eins millionen euro
de | -5 € (–3 €) | minus fünf euro minus drei euro
de | 500 CHF und 1 SEK | fünfhundert franken und eine krone
de | EUR 5 Tsd. | fünftausend euro
en | $5 million | five million dollars
en | €3bn, $5k and $5m | three billion euros five thousand dollars and five million dollars
en | ¥500, ₹1 and ₩1,000 | five hundred yen one rupee and one thousand won
en | 500 Kč, 1 zł, CHF 5 | five hundred korunas one zloty five francs
en | €1.000.000 | one million euros
en | €1.034,50 | one thousand and thirty four euros fifty cents
en | $½ and $2½ | half a dollar and two and a half dollars
en | TRY 5 TIMES | try five times
cs | 1 Kč, 2 Kč, 5 Kč | jedna koruna dvě koruny pět korun
cs | 3,- Kč a 3,– € | tři koruny a tři eura
de | 5,- € | fünf euro
cs | 21 Kč a 22 Kč | dvacet jedna korun a dvacet dva korun
cs | 1 €, 2 €, 5 € | jedno euro dvě eura pět eur
cs | 2 mld. Kč | dvě miliardy korun
cs | 1,5 mil. Kč | jedna celá pět milionu korun
cs | 1,50 Kč | jedna koruna padesát haléřů
sv | 1 kr, 2 kr, 1 £ | en krona två kronor ett pund
sv | 2 mn kr | två miljoner kronor
sv | 5,50 kr | fem kronor och femtio öre
da | 5 mio. kr | fem millioner kroner
no | 2 000 000 kr | to millioner kroner
nl | €5 miljoen | vijf miljoen euro
pl | 22 zł, 21 zł, 5 mln zł | dwadzieścia dwa złote dwadzieścia jeden złotych pięć milionów złotych
ru | 1 ₽, 22 ₽, 111 ₽ | один рубль двадцать два рубля сто одиннадцать рублей
ru | 5 млн руб. | пять миллионов рублей
ru | 1 тыс. ₽ | одна тысяча рублей
ru | 2,5 млн ₽ | две целых пять десятых миллиона рублей
ru | 2 ¥ и 5 zł | две иены и пять злотых
uk | 2 € | два євро
tr | 5 TL, 5 TL. | beş lira beş lira
tr | 10 bin TL, 3 milyon ₺ | on bin lira üç milyon lira
en | $5-million, €5-million | five million dollars five million euros
en | $1.5-billion-a-year | one point five billion dollars a year
en | £5 m, $5 M, $1 B | five million pounds five million dollars one billion dollars
en | £300 k | three hundred thousand pounds
en | $5mm, $5mil | five million dollars five million dollars
en | ₹2 cr, ₹2cr | two crore rupees two crore rupees
en | $1T | one trillion dollars
en | S$5, NT$5 | five dollars five dollars
en | Rs 500, Rs.5 crore, ₨5 | five hundred rupees five crore rupees five rupees
en | $5 a day, $5 I had | five dollars a day five dollars i had
en | ＄５ | five dollars
de | US-$ 5, 5 US-$ | fünf dollar fünf dollar
fr | 1 Mio. €, 5 Mio. €, 5 Md. € | un million d'euros cinq millions d'euros cinq milliards d'euros
it | 1 Mio. €, 5 mln. € | un milione di euro cinque milioni di euro
it | 5 mln euro | cinque milioni di euro
pt | 5 mi. € | cinco milhões de euros
en_IN | ₹5 crore | five crore rupees
en | $5 to $10 million | five to ten million dollars
en | $5-10 million, £5–£10m | five to ten million dollars five to ten million pounds
en | $1.5 to $2bn, $1 to $2 | one point five to two billion dollars one dollar to two dollars
en | $5 to 10 people | five dollars to ten people
pt | 5 mi de reais e 1 bi de euros | cinco milhões de reais e um bilhão de euros
"""
ROWS = [tuple(row.split(" | ")) for row in AMOUNTS.strip().splitlines()]


def kinds(language, text):
    return {change.kind for change in unicode(language).explain(text)[1]}


@pytest.mark.parametrize(("language", "text", "right"), ROWS)
def test_an_amount_is_written_as_it_is_spoken(language, text, right):
    spoken = unicode(language).normalise(text)
    assert spoken == right and unicode(language).normalise(spoken) == spoken
    assert IN_DOUBT not in kinds(language, text)


@pytest.mark.parametrize(
    ("language", "text", "words"),
    [
        ("en", "€1.000", "one thousand euros"),
        ("en", "€1.500", "one point five zero zero euros"),
        ("de", "1,500 €", "eins komma fünf null null euro"),
        ("de", "1,000 €", "eintausend euro"),
    ],
)
def test_three_digits_after_the_sign_of_decimals_are_in_doubt(language, text, words):
    assert unicode(language).normalise(text) == words
    assert IN_DOUBT in kinds(language, text) and SPELLED not in kinds(language, text)


@pytest.mark.parametrize(
    ("language", "text"), [("de", "1.500 €"), ("en", "€1,500"), ("fr", "1 500 €")]
)
def test_thousands_as_the_language_groups_them_are_no_doubt(language, text):
    assert IN_DOUBT not in kinds(language, text)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("$500 to $1 million", "five hundred dollars to one million dollars"),
        ("$5 and $10 million", "five dollars and ten million dollars"),
        ("$5 to €10 million", "five dollars to ten million euros"),
        ("AUD 5 and 5 NZD", "five dollars and five dollars"),
    ],
)
def test_what_is_said_in_more_than_one_way_is_in_doubt(text, words):
    assert unicode("en").normalise(text) == words and IN_DOUBT in kinds("en", text)


def test_a_code_of_dollars_in_small_letters_is_a_word():
    assert unicode("en").normalise("a cad 5") == "a cad five"


@pytest.mark.parametrize("text", ["5 ₿", "₦5", "5 kr", "fr 5 ¢"])
@pytest.mark.parametrize("language", ["fr", "cs", "cy", "ru"])
def test_a_currency_without_words_is_told(language, text):
    assert kinds(language, text) & {IN_DOUBT, "symbol"}


@pytest.mark.parametrize("text", ["£5", "£5 miliwn", "€2", "$½"])
def test_amounts_in_welsh_are_in_doubt_as_its_nouns_mutate(text):
    assert IN_DOUBT in kinds("cy", text)


@pytest.mark.parametrize(
    ("language", "text"),
    [("en", "$5 q"), ("en", "₹5L"), ("en", "$5pm"), ("ru", "$5м"), ("de", "5 TL"), ("fr", "5 Rs")],
)
def test_letters_that_may_be_a_scale_or_a_currency_are_in_doubt(language, text):
    assert IN_DOUBT in kinds(language, text)


def test_arabic_has_no_name_of_another_currency():
    assert "ريال" not in unicode("ar").normalise("5 €") and "symbol" in kinds("ar", "5 €")


@pytest.mark.parametrize("language", _ROWS)
def test_every_currency_of_a_language_has_as_many_forms_and_a_known_gender(language):
    names = [name for pair in currencies(language).values() for name in pair if name.forms]
    slavic = language in {"cs", "pl", "ru"}
    assert {len(name.forms) for name in names} <= ({3, 4} if slavic else {2})
    assert {name.gender for name in names} <= set("mfnsc-")
