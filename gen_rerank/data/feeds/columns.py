"""Which column of a feed is which of our fields, by the names that shops' exports use.

A name is compared without capitals, spaces and signs, and without Google's `g:`; where several columns are known for a
field, the one that stands first in the list here is taken, and people overrule it by name. What is none of ours, but is
known to describe a product, becomes an attribute; the rest does where that is asked for, else it is counted.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from gen_rerank.data.importing.report import columns_said, names_listed
from gen_rerank.errors import BadInput


class FeedField(StrEnum):
    """What a column may be; the first eight are fields of a product."""

    PRODUCT_ID = "product_id"
    TITLE = "title"
    DESCRIPTION = "description"
    BRAND = "brand"
    CATEGORY = "category"
    ATTRIBUTES = "attributes"
    PRICE = "price"
    AVAILABLE = "available"
    SALE_PRICE = "sale_price"
    CURRENCY = "currency"
    QUANTITY = "quantity"


REQUIRED = (FeedField.PRODUCT_ID, FeedField.TITLE)

# By field, the names of its columns, the surest first.
KNOWN: dict[FeedField, tuple[str, ...]] = {
    FeedField.PRODUCT_ID: (
        "product_id", "id", "item_id", "product_uid", "sku", "product_sku", "item_number", "article_number",
        "artikelnummer", "artikelnr", "produkt_id", "référence", "referencia", "codice", "asin", "parent_asin",
        "uniq_id", "handle", "url_handle", "gtin", "ean",
    ),
    FeedField.TITLE: (
        "title", "product_title", "product_name", "name", "item_name", "post_title", "bezeichnung",
        "artikelbezeichnung", "produktname", "titel", "titre", "nom", "nombre", "título", "titolo", "nome",
    ),
    FeedField.DESCRIPTION: (
        "description", "product_description", "body_html", "body", "long_description", "post_content", "summary",
        "content", "short_description", "beschreibung", "produktbeschreibung", "descripción", "descrizione",
        "omschrijving",
    ),
    FeedField.BRAND: (
        "brand", "product_brand", "brand_name", "manufacturer", "vendor", "marke", "hersteller", "marque", "marca",
        "merk",
    ),
    FeedField.CATEGORY: (
        "category", "product_type", "google_product_category", "product_category", "categories", "category_name",
        "category_path", "category_hierarchy", "product_class", "main_category", "type", "kategorie", "warengruppe",
        "catégorie", "categoría", "categoria", "categorie",
    ),
    FeedField.ATTRIBUTES: ("attributes", "properties", "specifications", "specs", "eigenschaften"),
    FeedField.PRICE: (
        "price", "regular_price", "variant_price", "list_price", "unit_price", "price_amount", "preis", "verkaufspreis",
        "prix", "precio", "prezzo", "prijs",
    ),
    FeedField.AVAILABLE: (
        "available", "availability", "in_stock", "is_in_stock", "stock_status", "instock", "verfügbarkeit",
        "disponibilité", "disponibilidad", "disponibilità",
    ),
    FeedField.SALE_PRICE: ("sale_price", "special_price", "discounted_price", "angebotspreis"),
    FeedField.CURRENCY: ("currency", "currency_code", "price_currency", "währung", "devise", "moneda"),
    FeedField.QUANTITY: (
        "quantity", "qty", "stock", "stock_quantity", "inventory_quantity", "variant_inventory_qty", "inventory",
        "lagerbestand", "bestand",
    ),
}  # fmt: skip

# Columns that describe a product, by the attribute that they become.
DESCRIBING: dict[str, tuple[str, ...]] = {
    "color": ("color", "colour", "product_color", "farbe", "couleur"),
    "size": ("size", "sizes", "größe", "taille", "talla"),
    "material": ("material", "fabric", "matière"),
    "pattern": ("pattern", "muster"),
    "gender": ("gender", "geschlecht"),
    "age group": ("age_group",),
    "condition": ("condition", "zustand"),
    "model number": ("mpn", "model_number", "model", "part_number", "manufacturer_part_number"),
    "tags": ("tags", "keywords"),
    "features": ("product_highlight", "features", "bullet_points", "product_bullet_point", "bullet_point"),
}
_PANDAS_INDEX = re.compile(r"|Unnamed: 0(?:\.\d+)?|__index_level_\d+__|level_0")
_SEPARATORS = re.compile(r"[\W_]+")


@dataclass(frozen=True)
class Role:
    """What a column is: a field, or an attribute with a name, or neither."""

    field: FeedField | None = None
    attribute: str | None = None


class FeedColumns:
    """The columns of one feed, each with its role; those that come late are taken in when they come.

    Args:
        file: named in sentences.
        names: of the columns that are there at the beginning.
        overrides: by field, the name of its column.
        keep_rest: whether columns that are not known become attributes.

    Raises:
        BadInput: there is no such column or field, or none for the id or the title.

    Example:
        >>> FeedColumns(Path("feed.csv"), ["SKU", "Name", "g:price"]).said
        'product_id ← SKU, title ← Name, price ← g:price'
    """

    def __init__(
        self,
        file: Path,
        names: Iterable[str],
        overrides: Mapping[str, str] | None = None,
        *,
        keep_rest: bool = False,
    ) -> None:
        names = list(names)
        self.keep_rest = keep_rest
        self.roles: dict[str, Role] = {}
        self.index: list[str] = []
        self.rest: Counter[str] = Counter()
        self._taken: set[FeedField] = set()
        for given, column in (overrides or {}).items():
            self._override(file, names, given, column)
        for name in sorted(names, key=_rank):  # of equals the first
            self.role(name)
        for field in REQUIRED:
            if field not in self._taken:
                raise BadInput(
                    f"{file}: no column is known for {field}; there are {names_listed(names)}; name one by "
                    f"--map {field}=COLUMN"
                )
        self._first = frozenset(self._taken)

    def role(self, name: str) -> Role:
        """Return what a column is, also one that was not seen before."""
        found = self.roles.get(name)
        if found is None:
            found = self.roles[name] = self._found(name)
        return found

    def column(self, field: FeedField) -> str | None:
        """Return the column of a field; None where there is none."""
        return next((name for name, role in self.roles.items() if role.field is field), None)

    @property
    def said(self) -> str:
        """The mapping, as it is printed."""
        return columns_said(self._columns(self._taken))

    @property
    def late_said(self) -> str:
        """The part of it that first came after the beginning."""
        return columns_said(self._columns(self._taken - self._first))

    @property
    def attributes_said(self) -> str:
        """Which columns became attributes, and under which name where it is another."""
        named = [(name, role.attribute) for name, role in self.roles.items() if role.attribute]
        return names_listed(name if name == kept else f"{kept} ← {name}" for name, kept in named)

    def _columns(self, fields: Collection[FeedField]) -> dict[str, str]:
        return {field: self.column(field) or "" for field in FeedField if field in fields}

    def _override(self, file: Path, names: list[str], given: str, column: str) -> None:
        fields = list(FeedField)
        if given not in fields:
            raise BadInput(f"--map {given}={column}: there is no field {given!r}; there are {', '.join(fields)}")
        exact = [name for name in names if name == column] or [name for name in names if _key(name) == _key(column)]
        if not exact:
            raise BadInput(f"{file}: has no column {column!r}, which --map names; there are {names_listed(names)}")
        if exact[0] in self.roles:
            raise BadInput(f"--map: the column {exact[0]!r} is named for two fields; name one for each")
        self.roles[exact[0]] = Role(FeedField(given))
        self._taken.add(FeedField(given))

    def _found(self, name: str) -> Role:
        if _PANDAS_INDEX.fullmatch(name):
            self.index.append(name)
            return Role()
        field = _FIELD_OF.get(_key(name))
        if field is not None and field not in self._taken:
            self._taken.add(field)
            return Role(field)
        attribute = _ATTRIBUTE_OF.get(_key(name))
        return Role(attribute=attribute or (plain_name(name) if self.keep_rest else None))


def plain_name(name: str) -> str:
    """Return a column's name as an attribute has it: without a prefix, with spaces.

    Example:
        >>> plain_name("g:shipping_weight")
        'shipping weight'
    """
    return name.rpartition(":")[2].replace("_", " ").strip() or name


def _key(name: str) -> str:
    """Return a name as names are compared: small letters, one sign between words, no prefix of Google's.

    Example:
        >>> _key("g:Product Type"), _key("Body (HTML)")
        ('product_type', 'body_html')
    """
    small = name.strip().casefold()
    return _SEPARATORS.sub("_", small.removeprefix("g:").removeprefix("variant ")).strip("_")


def _rank(name: str) -> tuple[int, bool]:
    """Say how early a column is asked for its role: by its place in the list, Google's names before plain ones."""
    return _RANK.get(_key(name), len(_RANK)), not name.casefold().startswith("g:")


_FIELD_OF = {_key(known): field for field, names in KNOWN.items() for known in names}
_ATTRIBUTE_OF = {_key(known): attribute for attribute, names in DESCRIBING.items() for known in names}
_RANK = {_key(known): rank for names in KNOWN.values() for rank, known in enumerate(names)}
