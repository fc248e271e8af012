"""RSS and Atom feeds of merchants become rows: what lies in an `<item>` or `<entry>`, streamed.

defusedxml reads them, and refuses declarations of entities, by which a small file becomes a huge one. A name has the
prefix that is usual for its namespace, whatever the file calls it: `g:price` for Google's, none for Atom's; in others,
and where a prefix is not declared, it keeps its own. Where `g:` is declared as another's, it is `other-g:`. A name that
comes twice gives a list, an element that has others an object of them; markup in a plain RSS field is text.
"""

from __future__ import annotations

import re
from collections import deque
from typing import Any
from xml.sax.handler import ContentHandler
from xml.sax.xmlreader import AttributesImpl, Locator

from gen_rerank.data.feeds.rows import FeedRow, FeedRows
from gen_rerank.data.feeds.source import FeedSource
from gen_rerank.errors import BadInput

_ITEMS = ("item", "entry")
_CHUNK = 2**16
_XMLNS = "xmlns:"
# The usual prefix of a namespace; an address is compared without what writers vary.
_PREFIX_OF = {"base.google.com/ns/1.0": "g:", "www.w3.org/2005/atom": "", "purl.org/atom/ns": ""}
_TAKEN, _OTHER = "g:", "other-"
# What the parser says at the end of a file that stops in an element, in a tag or in a text.
_CUT_OFF = ("no element found", "unclosed token", "unclosed CDATA section", "partial character")
_DETAIL = "product_detail"  # a section, a name and a value


def merchant_rows(source: FeedSource) -> FeedRows:
    """Yield the items of a merchant's feed, with the line in which each begins.

    Raises:
        BadInput: it is not well-formed XML, declares entities, or has no item.
    """
    from xml.sax import SAXParseException

    from defusedxml.common import DefusedXmlException
    from defusedxml.sax import make_parser

    found, parser = False, make_parser()
    items = _Items(parser)  # it knows the line that it reads
    parser.setContentHandler(items)
    with source.text() as file:
        try:
            while text := file.read(_CHUNK):
                parser.feed(text.encode(errors="replace").decode())
                while items.rows:
                    found = True
                    yield items.rows.popleft()
            parser.close()
        except SAXParseException as error:
            place, what = f"{source.path}:{error.getLineNumber()}", error.getMessage()
            cut = "; the file seems to be cut off: fetch it again" if what in _CUT_OFF else ""
            raise BadInput(f"{place}: not well-formed XML ({what}){cut}") from error
        except DefusedXmlException as error:
            raise BadInput(f"{source.path}: declares entities of its own, which are not read; remove them") from error
    if not found:
        raise BadInput(f"{source.path}: XML without an <item> or <entry>; RSS and Atom feeds are read")


class _Element:
    """An element that is being read: its text so far, and the elements in it."""

    def __init__(self, name: str, attributes: AttributesImpl) -> None:
        self.name = name
        self.text: list[str] = []
        self.inner: dict[str, Any] = {}
        self.link = attributes.get("href", "")

    @property
    def qualified(self) -> bool:
        return ":" in self.name

    def take(self, name: str, value: Any) -> None:
        """Note an element in this one; several of one name become a list."""
        if name not in self.inner:
            self.inner[name] = value
        elif isinstance(self.inner[name], list):
            self.inner[name].append(value)
        else:
            self.inner[name] = [self.inner[name], value]

    def value(self) -> Any:
        """Return what the element says."""
        return self.inner or "".join(self.text) or self.link


class _Items(ContentHandler):
    """Collects items while the parser goes on; whoever feeds it takes them out."""

    def __init__(self, place: Locator) -> None:
        super().__init__()
        self.place = place
        self.rows: deque[FeedRow] = deque()
        self._open: list[_Element] = []
        self._line = 0
        self._prefixes: list[dict[str, str]] = [{}]  # of each open element, what its prefixes are usually called

    def startElement(self, name: str, attrs: AttributesImpl) -> None:  # noqa: N802 (the name is SAX's)
        """Open an element."""
        self._prefixes.append(_declared(self._prefixes[-1], attrs))
        name = self._usual(name)
        if self._open:
            self._open.append(_Element(name, attrs))
        elif _local(name) in _ITEMS:
            self._open.append(_Element(name, attrs))
            self._line = self.place.getLineNumber() or 0

    def characters(self, content: str) -> None:
        """Take text, which is none between the elements of an item."""
        if len(self._open) > 1:
            self._open[-1].text.append(content)

    def endElement(self, name: str) -> None:  # noqa: N802 (the name is SAX's)
        """Close an element: it goes into the one around it."""
        name = self._usual(name)
        self._prefixes.pop()
        if not self._open:
            return
        closed = self._open.pop()
        if not self._open:
            self.rows.append(FeedRow(self._line, closed.inner))
            return
        outer = self._open[-1]
        if len(self._open) > 1 and not closed.qualified and not outer.qualified:
            outer.text += [" ", *closed.text, " "]  # markup in a text
        elif _local(name) == _DETAIL:
            outer.inner.setdefault("attributes", []).append(_detail(closed.inner))
        else:
            outer.take(closed.name, closed.value())

    def _usual(self, name: str) -> str:
        """Return a name with the prefix that is usual for its namespace."""
        prefix, colon, local = name.rpartition(":")
        return self._prefixes[-1].get(prefix, prefix + colon) + local


def _declared(known: dict[str, str], attributes: AttributesImpl) -> dict[str, str]:
    """Return what prefixes are usually called where an element has these attributes."""
    found = {}
    for name, address in attributes.items():
        if name.startswith(_XMLNS):
            prefix = name.removeprefix(_XMLNS)
            own = f"{_OTHER * (f'{prefix}:'.casefold() == _TAKEN)}{prefix}:"
            found[prefix] = _PREFIX_OF.get(re.sub(r"^https?://|[/#]+$", "", address.strip().casefold()), own)
    return {**known, **found} if found else known


def _local(name: str) -> str:
    return name.rpartition(":")[2]


def _detail(inner: dict[str, Any]) -> dict[str, Any]:
    """Return a product detail as the name and value that attributes are read from."""
    local = {_local(name): value for name, value in inner.items()}
    return {"name": local.get("attribute_name"), "value": local.get("attribute_value")}
