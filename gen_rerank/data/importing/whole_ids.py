"""Ids that a spreadsheet or pandas made fractions of: "1.0" is 1, in a feed and in a list of judgments alike.

Text in a data folder is taken as it stands; this is for sources that are imported.
"""

from __future__ import annotations

import re

WHOLE_ID = "id written as a whole number"
_FRACTION = re.compile(r"(\d+)\.0", re.ASCII)


def whole_id(identifier: str) -> str:
    """Return an id without the point and the zero of a fraction; any other id as it is.

    Example:
        >>> whole_id("1.0"), whole_id("1.50"), whole_id("v1.0")
        ('1', '1.50', 'v1.0')
    """
    found = _FRACTION.fullmatch(identifier)
    return found[1] if found else identifier
