"""What a foreign value becomes: the one place that decides what NaN, 1.0, true, a list or a date is in a record.

Every door leads here, because the records' fields ask these functions themselves: JSON Lines, Parquet, Python and HTTP
give the same product for the same value, or refuse it with the same words. `None` means absent: so are NaN, infinity,
what pandas writes for a missing value, and text of which nothing is left once it is clean. docs/data.md has the table.

Forms of whole files are `reading`'s, forms of documents `documents`'.
"""

from __future__ import annotations

import math
import re
import reprlib
import sys
from collections.abc import Iterator, Mapping
from datetime import date, datetime, time
from decimal import Decimal
from typing import Any
from uuid import UUID

import numpy as np

from gen_rerank.data.cleaning import READ_CHARACTERS, clean, mend, visible
from gen_rerank.data.json_text import NotJson, read_json

_SHOWN = 40
_MOST_DIGITS = 400
_MOST_DEPTH = 8
_MOST_ATTRIBUTES = 1000
_PLAIN_NUMBER = re.compile(r"[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d{1,3})?", re.ASCII)
_YES = frozenset({"true", "t", "yes", "y", "on", "1"})
_NO = frozenset({"false", "f", "no", "n", "off", "0"})
_NAMES = ("key", "name")


class BadValue(ValueError):
    """A value that a field cannot hold; the message is a clause that follows the field's name and a colon."""


class NoValue(BadValue):
    """A required field that is absent; the message follows the field's name alone."""


def text(value: Any) -> str | None:
    """Return one text, cleaned; None when it is absent.

    Numbers, booleans and dates become the text that JSON has for them, whole numbers without a point.

    Raises:
        BadValue: a list, an object, or bytes that are not UTF-8.

    Example:
        >>> text("<b>Oak</b> desk"), text(1.0), text(True), text(float("nan"))
        ('Oak desk', '1', 'true', None)
    """
    raw = value if type(value) is str else _raw_text(value)
    if raw is None:
        return None
    cleaned = clean(raw)
    return cleaned if cleaned and not cleaned.isspace() else None


def required_text(value: Any) -> str:
    """Return one text, cleaned.

    Raises:
        NoValue: nothing is left of it.
        BadValue: as `text`.
    """
    found = text(value)
    if found is None:
        raise NoValue("has no text")
    return found


def identifier(value: Any) -> str:
    """Return an id: text without invisible characters and white space at its ends; 1.0 and 1 are one.

    Nothing is taken for markup: two ids must not become one.

    Raises:
        NoValue: nothing is left of it.
        BadValue: as `text`.

    Example:
        >>> identifier(1.0), identifier(" p<b>1\ufeff")
        ('1', 'p<b>1')
    """
    raw = _raw_text(value)
    found = "" if raw is None else visible(mend(raw[:READ_CHARACTERS])).strip()
    if not found:
        raise NoValue("has no text")
    return found


def joined_text(value: Any, separator: str = ", ") -> str | None:
    """Return one text of a value that may be a list or an object, as `text` else; absent parts are left out.

    Raises:
        BadValue: as `text`, or nested too deep.

    Example:
        >>> joined_text(["S", None, "M"]), joined_text({"width": 10, "unit": "cm"})
        ('S, M', 'width: 10, unit: cm')
    """
    return text(value) if type(value) is str else _joined(value, separator, _MOST_DEPTH)


def paragraphs(value: Any) -> str | None:
    """Return one text of a value that may be a list of paragraphs, as `joined_text` else."""
    return joined_text(value, "\n")


def attributes(value: Any) -> dict[str, str]:
    """Return names with their texts; a name that comes twice has both, and one whose value is absent none.

    Args:
        value: an object, a list of records with a key (or name) and a value, a list of pairs, or one of these as JSON
            text.

    Raises:
        BadValue: anything else, or a value without a name.

    Example:
        >>> attributes([{"key": "colour", "value": "red"}, {"name": "sizes", "value": ["S", "M"]}])
        {'colour': 'red', 'sizes': 'S, M'}
    """
    if type(value) is not dict and _is_absent(value):
        return {}
    found: dict[str, list[str]] = {}
    for i, (given, content) in enumerate(value.items() if type(value) is dict else _items(value)):
        if i == _MOST_ATTRIBUTES:
            raise BadValue(f"more than {_MOST_ATTRIBUTES:,} entries")
        name = text(given)
        try:
            written = joined_text(content)
        except BadValue as error:
            raise BadValue(f"{shown(name)}: {error}") from error
        if written is None:
            continue
        if name is None:
            raise BadValue(f"the value {shown(written)} has no name")
        found.setdefault(name, []).append(written)
    return {name: ", ".join(texts) for name, texts in found.items()}


def number(value: Any) -> float | None:
    """Return a number; None when it is absent.

    Raises:
        BadValue: a boolean, or text that is more than digits with a point: a currency, a decimal comma.

    Example:
        >>> number("19.99"), number(float("inf")), number("")
        (19.99, None, None)
    """
    if type(value) is float and math.isfinite(value):
        return value + 0.0  # of -0.0 the sign goes
    if _is_absent(value):
        return None
    if isinstance(value, int | float | Decimal | np.integer | np.floating) and not isinstance(
        value, bool | np.timedelta64
    ):
        return _float(str(value) if isinstance(value, np.floating) else value)
    written = text(value) if isinstance(value, str | bytes) else None
    if written is None or not _PLAIN_NUMBER.fullmatch(written.strip()):
        raise BadValue(f"a plain number such as 19.99 is needed, not {shown(value)}{_form_of_number(written)}")
    return _float(written)


def grade(value: Any) -> float:
    """Return a required number; true and false are 1 and 0.

    Raises:
        NoValue: it is absent.
        BadValue: as `number`.
    """
    found = number(float(value) if isinstance(value, bool | np.bool_) else value)
    if found is None:
        raise NoValue("has no value")
    return found


def boolean(value: Any) -> bool | None:
    """Return true or false; None when it is absent.

    Raises:
        BadValue: neither, nor 1 or 0, nor a word for them.

    Example:
        >>> boolean("yes"), boolean(0.0), boolean(None)
        (True, False, None)
    """
    if type(value) is bool or _is_absent(value):
        return value if type(value) is bool else None
    written = (text(value) or "").lower() if not isinstance(value, list | tuple | Mapping | np.ndarray) else ""
    if written not in _YES | _NO:
        raise BadValue(f"true or false is needed, not {shown(value)}")
    return written in _YES


def texts(value: Any) -> tuple[str, ...]:
    """Return the texts of a list; absent ones are left out.

    Raises:
        BadValue: it is no list, or an entry is no text.

    Example:
        >>> texts(["gift", None, 5])
        ('gift', '5')
    """
    return tuple(found for each in _list(value) if (found := text(each)) is not None)


def grades(value: Any) -> tuple[float, ...]:
    """Return the grades of a list; an annotator who gave none is left out.

    Raises:
        BadValue: it is no list, or an entry is no number.
    """
    return tuple(grade(each) for each in _list(value) if not _is_absent(each))


def shown(value: Any) -> str:
    r"""Return how a value is written in a sentence: on one line, cut.

    Example:
        >>> shown("red\ndesk")
        "'red\\ndesk'"
    """
    short = repr(mend(value[: _SHOWN + 1])[:_SHOWN]) if isinstance(value, str) else mend(reprlib.repr(value))
    line = " ".join(short.split())
    return line if len(line) <= _SHOWN else line[: _SHOWN - 1] + "…"


def _raw_text(value: Any) -> str | None:
    """Return the text of a value before it is cleaned."""
    if type(value) is str:
        return value
    if _is_absent(value):
        return None
    match value:
        case str():
            return str.__str__(value)
        case bool() | np.bool_():
            return "true" if value else "false"
        case np.timedelta64():  # to NumPy an integer
            raise BadValue("one text is needed, not a duration")
        case int() | np.integer():
            return _whole(int(value))
        case np.floating():  # the fewest digits that are this number at its own width
            return _decimal(Decimal(str(value)))
        case float():
            return _decimal(Decimal(repr(value)))
        case Decimal():
            return _decimal(value)
        case bytes() | bytearray() | memoryview():
            return _decoded(bytes(value))
        case datetime() | date() | time():
            return value.isoformat()
        case np.datetime64():
            return _moment(value).isoformat()
        case UUID():
            return str(value)
        case np.ndarray() if not value.ndim:
            return _raw_text(value[()])
    raise BadValue(f"one text is needed, not {_kind(value)}")


def _is_absent(value: Any) -> bool:
    """Say whether a value is one of the ways to write that there is none."""
    if value is None:
        return True
    match value:
        case str():
            return not clean(value).strip()
        case float() | np.floating():
            return not math.isfinite(value)
        case Decimal():
            return not value.is_finite()
        case datetime():
            return bool(value != value)  # pandas.NaT is a datetime that is not itself
        case np.datetime64() | np.timedelta64():
            return bool(np.isnat(value))
        case np.ndarray():
            return value.ndim == 0 and _is_absent(value[()])
    # Whoever has its missing value has it imported; importing it here would cost every command a second.
    pandas = sys.modules.get("pandas")
    return pandas is not None and value is pandas.NA


def _joined(value: Any, separator: str, depth: int) -> str | None:
    value = _without_shell(value)
    if not isinstance(value, list | tuple | Mapping):
        return text(value)
    if not depth:
        raise BadValue(f"lists and objects are nested more than {_MOST_DEPTH} deep")
    parts, room = [], READ_CHARACTERS
    for part in _parts(value, depth - 1):
        parts.append(part)
        room -= len(part) + len(separator)
        if room <= 0:
            break
    return (", " if isinstance(value, Mapping) else separator).join(parts)[:READ_CHARACTERS] or None


def _parts(value: Any, depth: int) -> Iterator[str]:
    """Yield the texts in a list, or in an object with their names."""
    if isinstance(value, Mapping):
        for given, each in value.items():
            if (part := _joined(each, ", ", depth)) is not None:
                name = text(given)
                yield f"{name}: {part}" if name else part
    else:
        for each in value:
            if (part := _joined(each, ", ", depth)) is not None:
                yield part


def _without_shell(value: Any) -> Any:
    """Return an array as the list of its entries, and one without dimensions as its entry; anything else as it is."""
    if not isinstance(value, np.ndarray):
        return value
    return list(value) if value.ndim else value[()]


def _items(value: Any) -> Iterator[tuple[Any, Any]]:
    """Yield the names and values that attributes are written as."""
    value = _without_shell(value)
    if isinstance(value, Mapping):
        yield from value.items()
    elif isinstance(value, list | tuple):
        for entry in value:
            if not _is_absent(entry):
                yield _pair(entry)
    elif isinstance(value, str | bytes):
        written = (_raw_text(value) or "").strip()
        if not written.startswith(("{", "[")):
            raise BadValue(f"an object of names and values is needed, not {shown(value)}")
        try:
            yield from _items(read_json(mend(written).encode()))
        except NotJson as error:
            raise BadValue(f"the text is {error}") from error
    else:
        raise BadValue(f"an object of names and values is needed, not {_kind(value)}")


def _pair(entry: Any) -> tuple[Any, Any]:
    entry = _without_shell(entry)
    if isinstance(entry, Mapping) and "value" in entry:
        given = [key for key, content in entry.items() if key == "value" or not _is_absent(content)]
        for name in _NAMES:
            if name in given and len(given) == 2:
                return entry[name], entry["value"]
    if isinstance(entry, list | tuple) and len(entry) == 2:
        return entry[0], entry[1]
    raise BadValue(
        f"{shown(entry)} has no name; an object of names and values is needed, or a list of records with a key and a "
        "value"
    )


def _list(value: Any) -> list[Any]:
    value = _without_shell(value)
    if _is_absent(value):
        return []
    if isinstance(value, list | tuple):
        return list(value)
    raise BadValue(f"a list is needed, not {shown(value)}")


def _float(value: Any) -> float | None:
    try:
        found = float(value)
    except OverflowError:
        found = math.inf
    if math.isinf(found):
        raise BadValue(f"{shown(value)} is too large a number")
    return found + 0.0


def _form_of_number(written: str | None) -> str:
    """Say which form of a price a text seems to have."""
    if written is None or not any(character.isdigit() for character in written):
        return ""
    rest = [character for character in written.strip() if not (character.isdigit() or character in "+-.")]
    if not rest:
        return ""
    separators = all(character in ",'" or character.isspace() for character in rest)
    return " (a comma or a space among the digits)" if separators else " (words or a currency beside the digits)"


def _moment(value: np.datetime64) -> date:
    """Return a time of NumPy's, to the microsecond, or a date where it is no more."""
    dated = np.datetime_data(value)[0] in ("Y", "M", "W", "D")
    found: date = value.astype("datetime64[D]" if dated else "datetime64[us]").item()
    if not isinstance(found, date):
        raise BadValue("a time outside of the years 1 to 9999 is no text")
    return found


def _whole(value: int) -> str:
    if value.bit_length() > _MOST_DIGITS * 3:
        raise BadValue(f"a number of more than {_MOST_DIGITS} digits is no text")
    return str(value)


def _decimal(value: Decimal) -> str:
    """Return a number's digits without an exponent, and without zeros at the end of a fraction."""
    if abs(value.adjusted()) > _MOST_DIGITS:
        raise BadValue(f"a number of more than {_MOST_DIGITS} digits is no text")
    digits = format(value, "f")
    digits = digits.rstrip("0").rstrip(".") if "." in digits else digits
    return "0" if digits == "-0" else digits


def _decoded(raw: bytes) -> str:
    try:
        return raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise BadValue("bytes that are not UTF-8 are no text") from error


def _kind(value: Any) -> str:
    match value:
        case list() | tuple() | np.ndarray():
            return "a list"
        case Mapping():
            return "an object"
    return f"a value of the type {type(value).__name__}"
