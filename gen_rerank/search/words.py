"""The words of a text as the index has them, so that the ways in which shops and shoppers write one thing meet.

`16"`, "16 inch" and "16inches" are the same words, and so are "128gb" and "128 GB", "iphone15" and "iphone 15" share
two. What stems and stop words are, the language says; `tantivy` has them. Query text is never query syntax: it becomes
words here and nothing else.
"""

from __future__ import annotations

import re

import tantivy

from gen_rerank.data.cleaning import clean
from gen_rerank.errors import BadInput

# Those that tantivy stems; of the second row it has no stop words.
_WITH_STOP_WORDS = (
    "danish", "dutch", "english", "finnish", "french", "german", "hungarian", "italian", "norwegian", "portuguese",
    "russian", "spanish", "swedish",
)  # fmt: skip
_STEMMED_ONLY = ("arabic", "greek", "romanian", "tamil", "turkish")
NO_LANGUAGE = "none"
LANGUAGES = (NO_LANGUAGE, *sorted((*_WITH_STOP_WORDS, *_STEMMED_ONLY)))

# One name a unit, and the ways to write it behind a number.
_UNITS = {
    "inch": ("inches", "inch", "in", '"', "″", "”", "''"),
    "foot": ("feet", "foot", "ft", "'", "′", "’"),
    "yard": ("yards", "yard", "yd"),
    "mm": ("millimeters", "millimetres", "millimeter", "millimetre", "mm"),
    "cm": ("centimeters", "centimetres", "centimeter", "centimetre", "cm"),
    "m": ("meters", "metres", "meter", "metre", "m"),
    "kg": ("kilograms", "kilogram", "kilos", "kilo", "kgs", "kg"),
    "g": ("grams", "gram", "gr", "g"),
    "lb": ("pounds", "pound", "lbs", "lb"),
    "oz": ("ounces", "ounce", "oz"),
    "ml": ("milliliters", "millilitres", "milliliter", "millilitre", "ml"),
    "l": ("liters", "litres", "liter", "litre", "ltr", "l"),
    "gallon": ("gallons", "gallon", "gal"),
    "kb": ("kilobytes", "kb"),
    "mb": ("megabytes", "mb"),
    "gb": ("gigabytes", "gigabyte", "gb"),
    "tb": ("terabytes", "terabyte", "tb"),
    "hz": ("hertz", "hz"),
    "ghz": ("gigahertz", "ghz"),
    "mah": ("mah",),
    "w": ("watts", "watt", "w"),
    "kw": ("kilowatts", "kilowatt", "kw"),
    "v": ("volts", "volt", "v"),
    "pack": ("packs", "pack", "pk", "pcs", "pieces", "piece", "count", "ct"),
}
_UNIT_OF = {way: unit for unit, ways in _UNITS.items() for way in ways}
_WAYS = "|".join(re.escape(way) for way in sorted(_UNIT_OF, key=len, reverse=True))
# "2 in 1" has no inches.
_MEASURE = re.compile(rf"(?<![^\W_])(\d+(?:\.\d+)?)[ -]?({_WAYS})(?![^\W_])(?! ?\d)", re.IGNORECASE)
_LETTERS_THEN_DIGITS = re.compile(r"(?<![^\W_])([^\W\d_]{2,})(\d+)(?![^\W_])")
_THOUSANDS = re.compile(r"(?<=\d),(?=\d{3}(?!\d))")
_DECIMAL_COMMA = re.compile(r"(?<=\d),(?=\d)")
_TIMES = re.compile(r"(?<=\d) ?[x×*] ?(?=\d)", re.IGNORECASE)
# Scripts without spaces between words: each character is a word.
_UNSPACED = re.compile(r"[\u0e01-\u0e5b\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff]")
_WORD = r"\p{N}+(?:\.\p{N}+)+\p{L}*|[\p{L}\p{N}\p{M}]+"


def spelled(text: str) -> str:
    """Return a text in which numbers, units and their neighbours are written in one way.

    Example:
        >>> spelled('16" laptop'), spelled("128GB"), spelled("iphone15")
        ('16inch 16 inch laptop', '128gb 128 gb', 'iphone15 iphone 15')
    """
    text = clean(text)
    text = _DECIMAL_COMMA.sub(".", _THOUSANDS.sub("", text))
    text = _TIMES.sub(" x ", text)
    text = _MEASURE.sub(_measure, text)
    text = _LETTERS_THEN_DIGITS.sub(r"\1\2 \1 \2", text)
    return _UNSPACED.sub(r" \g<0> ", text)


def analyzer(language: str) -> tantivy.TextAnalyzer:
    """Return what makes words of a `spelled` text: lower case, no accents, without stop words, stemmed.

    Raises:
        BadInput: there is no such language.

    Example:
        >>> analyzer("english").analyze(spelled("The Café tables"))
        ['cafe', 'tabl']
    """
    if language not in LANGUAGES:
        raise BadInput(f"there is no language {language!r}; choose one of {', '.join(LANGUAGES)}")
    builder = tantivy.TextAnalyzerBuilder(tantivy.Tokenizer.regex(_WORD)).filter(tantivy.Filter.lowercase())
    if language in _WITH_STOP_WORDS:
        builder = builder.filter(tantivy.Filter.stopword(language))
    if language != NO_LANGUAGE:
        builder = builder.filter(tantivy.Filter.stemmer(language))
    # Behind the stemmer, which knows the letters of its language.
    return builder.filter(tantivy.Filter.ascii_fold()).build()


def _measure(found: re.Match[str]) -> str:
    number, unit = found[1], _UNIT_OF[found[2].lower()]
    return f"{number}{unit} {number} {unit}"
