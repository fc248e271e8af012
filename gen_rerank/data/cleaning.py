"""Text from anywhere becomes text that a model can read: no markup, nothing invisible, no half characters.

Shops export descriptions as HTML, word processors leave soft hyphens, and a text cut in JavaScript ends in half an
emoji. None of it says anything about a product, and all of it makes other tokens. `clean` takes it out and leaves
everything else as it is, white space too; cleaning twice is cleaning once. Which values are text is `values`' to say.
"""

from __future__ import annotations

import re
from collections.abc import Collection
from html.entities import html5

# Inside a word they change nothing.
_INLINE_NAMES = """
a abbr acronym b bdi bdo big cite code data del dfn em font i ins kbd label mark meter nobr output progress q rb rp rt
rtc ruby s samp small span strike strong sub sup time tt u var wbr
"""
# They begin something new.
_BLOCK_NAMES = """
address applet area article aside audio base basefont blockquote body br button canvas caption center col colgroup
datalist dd details dialog dir div dl dt embed fieldset figcaption figure footer form frame frameset h1 h2 h3 h4 h5 h6
head header hgroup hr html iframe img input legend li link main map marquee math menu menuitem meta nav noframes
noscript object ol optgroup option p param picture pre script search section select slot source style summary svg table
tbody td template textarea tfoot th thead title tr track ul video xml
"""
_INLINE, _BLOCK = frozenset(_INLINE_NAMES.split()), frozenset(_BLOCK_NAMES.split())

# No part of a tag holds "<": so each search is over in one pass of the text. In quotes ">" is no end, unless a quote
# that is never closed leaves none.
_ATTRIBUTES = r"""(?:[\s/](?:(?:[^<>"']|"[^"<]*"|'[^'<]*')*+|[^<>]*+))?"""
_TAG = re.compile(rf"<(/?)([A-Za-z][A-Za-z0-9]{{0,9}})({_ATTRIBUTES})>")
_CLOSED = re.compile(r"</([A-Za-z])\s*>")
# Word processors write <o:p>, <?xml …?> and <![if …]>.
_FOREIGN_TAG = re.compile(rf"</?[A-Za-z][A-Za-z0-9]{{0,9}}:[A-Za-z][A-Za-z0-9]{{0,19}}{_ATTRIBUTES}>")
_INSTRUCTION = re.compile(r"<\?[A-Za-z][^<>]*\?>|<!\[(?:if\b|endif\b)[^<>]*>", re.IGNORECASE)
_UNSEEN = re.compile(
    r"<(script|style|svg|math)\b[^<>]*>(?:[^<]|<(?!(?:script|style|svg|math)\b|/\1))*+</\1\s*>", re.IGNORECASE
)
_COMMENT = re.compile(r"<!--(?:[^<-]|<(?!!--)|-(?!->))*+-->|<!doctype\b[^<>]*>", re.IGNORECASE)
_CDATA = re.compile(r"<!\[CDATA\[((?:[^<\]]|<(?!!\[CDATA\[)|\](?!\]>))*+)\]\]>")
_ENTITY = re.compile(r"&(?:#(\d{1,7})|#[xX]([0-9a-fA-F]{1,6})|([A-Za-z][A-Za-z0-9]{1,31}));")

# Default_Ignorable_Code_Point of Unicode 16, without the two joiners; and U+FFF9 to U+FFFC, which stand for no text.
_IGNORABLE = (
    "\u00ad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180f\u200b\u200e\u200f\u202a-\u202e\u2060-\u206f\u3164"
    "\ufe00-\ufe0f\ufeff\uffa0\ufff0-\ufffc\U0001bca0-\U0001bca3\U0001d173-\U0001d17a\U000e0000-\U000e0fff"
)
_JOINERS = "\u200c\u200d"
# Private use too, which is an icon of somebody's font. White space (tab, new line, U+001C to U+001F, U+0085) stays:
# whoever shows a text collapses it.
_CONTROL = "\x00-\x08\x0e-\x1b\x7f-\x84\x86-\x9f\u2800\ue000-\uf8ff\U000f0000-\U0010ffff"
# Arabic to Mandaic, the Indic scripts, Tibetan, Myanmar, Khmer, Mongolian and the Arabic presentation forms.
_JOINED_SCRIPTS = (
    "\u0600-\u061b\u061d-\u0dff\u0f00-\u109f\u1780-\u17b3\u17b6-\u180a\u1810-\u18af\ufb50-\ufdff\ufe70-\ufefc"
)
_VIRAMAS = "\u094d\u09cd\u0a4d\u0acd\u0b4d\u0bcd\u0c4d\u0ccd\u0d4d\u0dca"
_EMOJI = "\u2190-\u2bff\U0001f000-\U0001faff"

_INVISIBLE = re.compile(f"[{_IGNORABLE}]")
_CONTROLS = re.compile(f"[{_CONTROL}]")
# Between two letters that it joins or parts, behind a virama, between two emoji.
_JOINER = re.compile(
    f"([{_JOINED_SCRIPTS}][{_JOINERS}](?=[{_JOINERS}]*[{_JOINED_SCRIPTS}])|[{_VIRAMAS}]\u200d"
    f"|[{_EMOJI}]\u200d(?=[{_EMOJI}]))[{_JOINERS}]*|[{_JOINERS}]+"
)
_SUSPECT = re.compile(f"[<&{_CONTROL}{_IGNORABLE}{_JOINERS}\ud800-\udfff]")

# Of a text no more is read: a prompt has room for a thousandth of it, and a request must not be able to ask for more
# work than that.
READ_CHARACTERS = 2**20

# Feeds escape their markup, some of them twice. What is nested deeper is nested on purpose.
_PASSES = 8


def clean(text: str) -> str:
    """Return a text without markup, invisible and control characters, and with its broken Unicode mended.

    - A tag is `<`, a name from HTML's list, and what follows up to `>`: `<5 mm` and `<Instruct>` are text. Tags of
      blocks (`<br>`, `<li>`) become a space, the others nothing; comments, scripts, styles and drawings go with their
      content, and so do the tags of word processors (`<o:p>`). One capital letter in angle brackets is a size or a
      plug, unless its closing tag is there.
    - Entities that end in a semicolon are decoded: `R&B` stays, `R&amp;B` becomes it.
    - Unicode's default-ignorable characters go; a joiner stays between two letters of a script that needs it, behind a
      virama, and in emoji.
    - A control character becomes a space, and so does one of private use.
    - Of more than `READ_CHARACTERS` the rest is not read.
    - Half of a surrogate pair becomes `?`; two halves that belong together, their character.

    Example:
        >>> clean("<b>Lap\u00adtop</b> sleeve, &lt;5 mm")
        'Laptop sleeve, <5 mm'
    """
    text = text[:READ_CHARACTERS]
    if not _SUSPECT.search(text):
        return text
    text = mend(text)
    for _ in range(_PASSES):
        before, text = text, visible(_without_markup(text))
        if text == before:
            return text
    return text.replace("<", " ").replace("&", " ")


def visible(text: str) -> str:
    r"""Return a text without invisible characters, and with a space for each control character; markup stays.

    Example:
        >>> visible("p\u200b1\0")
        'p1 '
    """
    text = _INVISIBLE.sub("", _CONTROLS.sub(" ", text))
    if _JOINERS[0] not in text and _JOINERS[1] not in text:
        return text
    return _JOINER.sub(r"\1", text)


def mend(text: str) -> str:
    r"""Return a text without lone surrogates, which no tokenizer takes and UTF-8 cannot write.

    Example:
        >>> mend("Lamp \ud83d")
        'Lamp ?'
    """
    try:
        text.encode()
    except UnicodeEncodeError:
        pass
    else:
        return text
    whole = text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "surrogatepass")
    return whole.encode("utf-8", "replace").decode("utf-8")


def _without_markup(text: str) -> str:
    if "<!" in text or "<?" in text:
        text = _INSTRUCTION.sub(" ", _CDATA.sub(r"\1", _COMMENT.sub(" ", text)))
    if "<" in text:
        closed = frozenset(_CLOSED.findall(text))
        text = _FOREIGN_TAG.sub("", _UNSEEN.sub(" ", text))
        text = _TAG.sub(lambda tag: _gap(tag, closed), text)
    return _ENTITY.sub(_character, text) if "&" in text else text


def _gap(tag: re.Match[str], closed: Collection[str]) -> str:
    """Return what a tag leaves behind; what is no tag of HTML's stays."""
    slash, name, attributes = tag.groups()
    if not slash and not attributes and len(name) == 1 and name.isupper() and name not in closed:
        return tag[0]
    return "" if name.lower() in _INLINE else " " if name.lower() in _BLOCK else tag[0]


def _character(entity: re.Match[str]) -> str:
    """Return what an entity stands for; one that nobody knows stays as it is."""
    decimal, hexadecimal, name = entity.groups()
    if name is not None:
        return html5.get(f"{name};", entity[0])
    code = int(decimal) if decimal else int(hexadecimal, 16)
    if code > 0x10FFFF or 0xD800 <= code <= 0xDFFF:
        return "\ufffd"
    # Windows' characters under Latin-1's numbers, as browsers read them.
    return bytes([code]).decode("cp1252", "replace") if 0x80 <= code <= 0x9F else chr(code)
