"""JSON as it is written: every reader takes it, whatever the names and texts in it hold.

The shell hands on bytes that are no UTF-8 as halves of surrogate pairs, which Python writes into JSON as they are and
stricter readers refuse.
"""

from __future__ import annotations

import json
import re
from typing import Any

# Every escape is matched, so that a backslash that is itself escaped begins none; a whole pair matches as one.
_ESCAPE = re.compile(
    rb"\\(?:u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2}|(u[dD][89a-fA-F][0-9a-fA-F]{2})|.)"
)


def whole_json(value: Any) -> str:
    r"""Return a value as JSON in ASCII, with a question mark for each half character.

    Raises:
        ValueError: a number is not finite.

    Example:
        >>> whole_json("oak \udcff desk é")
        '"oak ? desk \\u00e9"'
    """
    return without_half_characters(json.dumps(value, indent=1, allow_nan=False).encode("ascii")).decode("ascii")


def without_half_characters(raw: bytes) -> bytes:
    r"""Return JSON in which each escape of half a surrogate pair is a question mark.

    Example:
        >>> without_half_characters(rb'"\ud83d \ud83d\ude00 \\ud83d"')
        b'"? \\ud83d\\ude00 \\\\ud83d"'
    """
    return _ESCAPE.sub(lambda escape: b"?" if escape[1] else escape[0], raw)
