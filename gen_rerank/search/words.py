"""The words of a text as the index has them, so that the ways in which shops and shoppers write one thing meet.

`16"`, "16 inch" and "16inches" are the same words, and so are "128gb" and "128 GB", "r13" and "R-13"; "iphone15" and
"iphone 15" share two. What stems and stop words are, the language says; `tantivy` has them. Query text is never query
syntax: it becomes words here and nothing else.
"""

from __future__ import annotations

import re
from unicodedata import normalize

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
    "inch": ("inches", "inch", "in", '"', "″", "”", "''", "′′", "’’"),
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
# Each begins with what it looks for and looks back from there: a search for a digit is fast, one for "no letter" slow.
_DIGIT = re.compile(r"\d")
_COMMAS = re.compile(r"\d+(?:,\d+)+")
# 1.299,00: a comma behind groups of three is the decimal sign.
_POINTS = re.compile(r"\d(?<![\d.,]\d)\d{0,2}(?:\.\d{3})+,\d+(?![\d.,])")
_NO_ZERO = re.compile(r"\.(?<![\w.]\.)(?=\d)")
_TIMES = re.compile(
    rf"(\d(?:[ -]?(?i:{'|'.join(map(re.escape, sorted(_UNIT_OF, key=len, reverse=True)))}))?+) ?[xX×*] ?(?=\.?\d)"
)
_MEASURE = re.compile(
    r"""(\d(?<![^\W_]\d)(?<!\d\.\d)\d*(?:\.\d+)?)(?!\.\d)  # a number, and not a part of one
        [ -]?([a-zA-Z]++(?![^\W_])                          # what may be its unit
             |''|′′|’’|["″”]|['′’](?![^\W\d_]))            # "the 90's" has no feet
        (?!(?<=[iI][nN])[ -]?\d)                             # "2 in 1" and "2-in-1" have no inches
    """,
    re.VERBOSE,
)
_LETTER_THEN_DIGIT = re.compile(r"\d(?:(?<=[^\W\d_]\d)|(?<=[^\W\d_]-\d))")
# With a hyphen only where nothing is in front: "3-in-1" has no "in1".
_LETTERS_THEN_DIGITS = re.compile(r"(?<![^\W_])(?:(?<![^\W_]-)([^\W\d_]++)-|([^\W\d_]++))(\d+)(?![^\W_])")
# NFKC makes digits of these, which must not become part of a number that stands beside them: 1½, 10².
_OTHER_DIGITS = "²³¹¼-¾⁰⁴-⁹₀-₉⅐-⅟↉①-⒛⓪-⓿"
_GLUED = re.compile(rf"(?<=\d)(?=[{_OTHER_DIGITS}])|(?<=[{_OTHER_DIGITS}])(?=\d)")
# AT&T and H&M: "at", "t" and "m" alone are stop words, or no more than letters.
_ABBREVIATION = re.compile(r"(?<![^\W_])([^\W_]{1,2})&([^\W_]{1,2})(?![^\W_])")
# Scripts without spaces between words: each character is a word.
_UNSPACED = re.compile(r"[\u0e01-\u0e5b\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff]")
_WORD = r"\p{N}+(?:\.\p{N}+)+\p{L}*|[\p{L}\p{N}\p{M}]+"


def spelled(text: str) -> str:
    """Return a `clean` text in which numbers, units and their neighbours are written in one way.

    Example:
        >>> spelled('16" laptop'), spelled("128GB"), spelled("iphone15")
        ('16inch 16 inch laptop', '128gb 128 gb', 'iphone15 iphone 15')
    """
    text = _ABBREVIATION.sub(r"\1\2 \1 \2", text) if "&" in text else text
    text = text if text.isascii() else normalize("NFKC", _GLUED.sub(" ", text))
    if _DIGIT.search(text):
        if "," in text:
            text = _COMMAS.sub(_without_commas, _POINTS.sub(_without_points, text))
        text = _TIMES.sub(r"\1 x ", text)
        text = _NO_ZERO.sub("0.", text)
        text = _MEASURE.sub(_measure, text)
        if _LETTER_THEN_DIGIT.search(text):
            text = _LETTERS_THEN_DIGITS.sub(_letters_and_digits, text)
    return text if text.isascii() else _UNSPACED.sub(r" \g<0> ", text)


def words_of(text: str, analysis: tantivy.TextAnalyzer) -> list[str]:
    """Return the words of any text, as the index has them.

    Example:
        >>> words_of('Sleeve for 16" laptops', analyzer("english"))
        ['sleev', '16inch', '16', 'inch', 'laptop']
    """
    return analysis.analyze(spelled(clean(text)))


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
    number, unit = found[1], _UNIT_OF.get(found[2].lower())
    if unit is None:
        return found[0]
    behind = " " if found.string[found.end() : found.end() + 1].isalnum() else ""
    return f"{number}{unit} {number} {unit}{behind}"


def _letters_and_digits(found: re.Match[str]) -> str:
    letters, digits = found[1] or found[2], found[3]
    return f"{letters}{digits} {letters} {digits}"


def _without_points(found: re.Match[str]) -> str:
    """Return 1299.00 for 1.299,00."""
    return found[0].replace(".", "").replace(",", ".")


def _without_commas(found: re.Match[str]) -> str:
    """Return 1299 for 1,299 and 19.5 for 19,5; "1,2,3" is a list."""
    first, *groups = found[0].split(",")
    if all(len(group) == 3 for group in groups):
        return first + "".join(groups)
    return f"{first}.{groups[0]}" if len(groups) == 1 else found[0]
