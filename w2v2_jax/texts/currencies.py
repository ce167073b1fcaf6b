"""The names of currencies: data for amounts and for the numbers before these names."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import NamedTuple

# Each row: codes, the gender, and its forms (of one, of more; in Slavic languages of one, of a few,
# of many, of a part, which without a fourth form is that of a few); then the same of the small
# unit. Genders: m, f, n, c (common), or - where number words do not change. _ stands for a space.
_ROWS = {
    "en": """
        EUR - euro euros - cent cents
        USD - dollar dollars - cent cents
        GBP - pound pounds - penny pence
        JPY - yen yen
        CNY - yuan yuan
        INR - rupee rupees - paisa paise
        KRW - won won
        CHF - franc francs - centime centimes
        PLN - zloty zlotys - grosz groszy
        CZK - koruna korunas - haler halers
        SEK - krona kronor - öre öre
        NOK,DKK - krone kroner - øre øre
        RUB - rouble roubles - kopek kopeks
        UAH - hryvnia hryvnias - kopiyka kopiykas
        TRY - lira liras - kurus kurus
        ILS - shekel shekels - agora agorot
        BRL - real reais - centavo centavos
        MXN - peso pesos - centavo centavos""",
    "de": """
        EUR m Euro Euro m Cent Cent
        USD m Dollar Dollar m Cent Cent
        GBP n Pfund Pfund m Penny Pence
        JPY m Yen Yen
        CNY m Yuan Yuan
        INR f Rupie Rupien
        KRW m Won Won
        CHF m Franken Franken m Rappen Rappen
        PLN m Zloty Zloty
        CZK f Krone Kronen m Heller Heller
        SEK,NOK,DKK f Krone Kronen n Öre Öre
        RUB m Rubel Rubel f Kopeke Kopeken
        UAH f Hrywnja Hrywnja
        TRY f Lira Lira
        ILS m Schekel Schekel
        BRL m Real Real
        MXN m Peso Peso""",
    "fr": """
        EUR m euro euros m centime centimes
        USD m dollar dollars m cent cents
        GBP f livre livres m penny pence
        JPY m yen yens
        CNY m yuan yuans
        INR f roupie roupies
        KRW m won wons
        CHF m franc francs m centime centimes
        PLN m zloty zlotys
        CZK,SEK,NOK,DKK f couronne couronnes
        RUB m rouble roubles m kopeck kopecks
        UAH f hryvnia hryvnias
        TRY f livre_turque livres_turques
        ILS m shekel shekels
        BRL m real reais m centavo centavos
        MXN m peso pesos m centavo centavos""",
    "es": """
        EUR m euro euros m céntimo céntimos
        USD m dólar dólares m centavo centavos
        GBP f libra libras m penique peniques
        JPY m yen yenes
        CNY m yuan yuanes
        INR f rupia rupias
        KRW m won wones
        CHF m franco francos m céntimo céntimos
        PLN m zloty zlotys
        CZK,SEK,NOK,DKK f corona coronas
        RUB m rublo rublos m kopek kopeks
        UAH f grivna grivnas
        TRY f lira liras
        ILS m séquel séqueles
        BRL m real reales m centavo centavos
        MXN m peso pesos m centavo centavos""",
    "it": """
        EUR m euro euro m centesimo centesimi
        USD m dollaro dollari m centesimo centesimi
        GBP f sterlina sterline m penny pence
        JPY s yen yen
        CNY s yuan yuan
        INR f rupia rupie
        KRW m won won
        CHF m franco franchi m centesimo centesimi
        PLN s zloty zloty
        CZK,SEK,NOK,DKK f corona corone
        RUB m rublo rubli m copeco copechi
        UAH f grivnia grivnie
        TRY f lira lire
        ILS s shekel shekel
        BRL m real real
        MXN m peso pesos""",
    "pt": """
        EUR m euro euros m cêntimo cêntimos
        USD m dólar dólares m cêntimo cêntimos
        GBP f libra libras m péni pence
        JPY m iene ienes
        CNY m yuan yuans
        INR f rupia rupias
        KRW m won wons
        CHF m franco francos m cêntimo cêntimos
        PLN m zloty zlotys
        CZK,SEK,NOK,DKK f coroa coroas
        RUB m rublo rublos m copeque copeques
        UAH f grívnia grívnias
        TRY f lira liras
        ILS m shekel shekels
        BRL m real reais m centavo centavos
        MXN m peso pesos m centavo centavos""",
    "pt_BR": """
        EUR m euro euros m centavo centavos
        USD m dólar dólares m centavo centavos
        CHF m franco francos m centavo centavos""",
    "cs": """
        EUR n euro eura eur eura m cent centy centů centu
        USD m dolar dolary dolarů dolaru m cent centy centů centu
        GBP f libra libry liber libry n penny pence pencí penny
        JPY m jen jeny jenů jenu
        CNY m jüan jüany jüanů jüanu
        INR f rupie rupie rupií rupie
        KRW m won wony wonů wonu
        CHF m frank franky franků franku m centim centimy centimů centimu
        PLN m zlotý zloté zlotých zlotého m groš groše grošů groše
        CZK f koruna koruny korun koruny m haléř haléře haléřů haléře
        SEK,NOK,DKK f koruna koruny korun koruny
        RUB m rubl rubly rublů rublu f kopejka kopejky kopejek kopejky
        UAH f hřivna hřivny hřiven hřivny
        TRY f lira liry lir liry
        ILS m šekel šekely šekelů šekelu
        BRL m real realy realů realu""",
    "pl": """
        EUR n euro euro euro euro m cent centy centów centa
        USD m dolar dolary dolarów dolara m cent centy centów centa
        GBP m funt funty funtów funta m pens pensy pensów pensa
        JPY m jen jeny jenów jena
        CHF m frank franki franków franka m centym centymy centymów centyma
        PLN m złoty złote złotych złotego m grosz grosze groszy grosza
        CZK,SEK,NOK,DKK f korona korony koron korony
        RUB m rubel ruble rubli rubla f kopiejka kopiejki kopiejek kopiejki
        UAH f hrywna hrywny hrywien hrywny""",
    "sv": """
        EUR c euro euro c cent cent
        USD c dollar dollar c cent cent
        GBP n pund pund c penny pence
        JPY c yen yen
        CNY c yuan yuan
        INR c rupie rupier
        KRW c won won
        CHF c franc franc
        PLN c zloty zloty
        CZK c krona kronor
        SEK,NOK,DKK c krona kronor n öre öre
        RUB c rubel rubel c kopek kopek
        TRY c lira lira
        MXN c peso pesos""",
    "da": """
        EUR c euro euro c cent cent
        USD c dollar dollar c cent cent
        GBP n pund pund c penny pence
        JPY c yen yen
        CHF c franc franc
        SEK,NOK,DKK c krone kroner c øre øre
        CZK c krone kroner""",
    "no": """
        EUR c euro euro c cent cent
        USD c dollar dollar c cent cent
        GBP n pund pund c penny pence
        JPY c yen yen
        CHF c franc franc
        SEK,NOK,DKK c krone kroner c øre øre
        CZK c krone kroner""",
    "tr": """
        EUR - euro euro - sent sent
        USD - dolar dolar - sent sent
        GBP - sterlin sterlin
        TRY - lira lira - kuruş kuruş""",
    "ru": """
        EUR m евро евро евро m цент цента центов
        USD m доллар доллара долларов m цент цента центов
        GBP m фунт фунта фунтов m пенс пенса пенсов
        JPY f иена иены иен
        CNY m юань юаня юаней
        INR f рупия рупии рупий
        KRW f вона воны вон
        CHF m франк франка франков m сантим сантима сантимов
        PLN m злотый злотых злотых злотого m грош гроша грошей
        CZK,SEK,NOK,DKK f крона кроны крон
        RUB m рубль рубля рублей f копейка копейки копеек
        UAH f гривна гривны гривен f копейка копейки копеек
        TRY f лира лиры лир
        ILS m шекель шекеля шекелей
        BRL m реал реала реалов
        MXN n песо песо песо""",
}


class Name(NamedTuple):
    """A noun that is counted: its gender and its forms."""

    gender: str
    forms: Sequence[str]


class Currency(NamedTuple):
    """small: without forms if none is said."""

    unit: Name
    small: Name


@functools.cache
def currencies(language: str) -> dict[str, Currency]:
    """The currencies of a language by their codes; empty if there is no table."""
    found = dict(currencies(language[:2])) if len(language) > 2 else {}
    for row in _ROWS.get(language, "").strip().splitlines():
        codes, *words = (word.replace("_", " ") for word in row.split())
        second = next((i for i, word in enumerate(words) if i and len(word) == 1), len(words))
        unit, small = (
            Name(part[0], part[1:]) for part in (words[:second], words[second:] or ["-"])
        )
        found |= dict.fromkeys(codes.split(","), Currency(unit, small))
    return found
