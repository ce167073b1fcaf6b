"""Letters that languages are written with, in lower case, after the main exemplar sets of Unicode's
CLDR; those of the Latin script have all of a to z, which names and loans are written with."""

from __future__ import annotations

LATIN = "abcdefghijklmnopqrstuvwxyz"
CYRILLIC = "абвгдежзийклмнопрстуфхцчшщьюя"
_BEYOND_LATIN = {
    "az": "çəğıöşü", "ca": "àçéèíïóòúü", "cs": "áčďéěíňóřšťúůýž", "da": "æøå", "de": "äöüß",
    "en": "", "es": "áéíñóúü", "fi": "åäö", "fr": "àâæçéèêëîïôœùûüÿ", "hu": "áéíóöőúüű",
    "it": "àèéìíîòóùú", "lt": "ąčęėįšųūž", "nl": "áäéëíïóöúü", "no": "æøå", "pl": "ąćęłńóśźż",
    "pt": "áâãàçéêíóôõúü", "ro": "ăâîșț", "sk": "áäčďéíľĺňóôŕšťúýž", "sl": "čšž", "sv": "åäöé",
    "tr": "çğıöşüâîû",
}  # fmt: skip
ALPHABETS = {language: LATIN + letters for language, letters in _BEYOND_LATIN.items()}
ALPHABETS |= {"ru": CYRILLIC + "ёъыэ", "uk": CYRILLIC + "ґєії", "be": CYRILLIC + "ёіўыэ"}
