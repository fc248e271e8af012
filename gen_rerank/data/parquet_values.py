"""What pyarrow makes of a Parquet column, made again what the file says: maps as objects, short floats as they print.

pyarrow gives a map as a list of pairs, and a float of 32 bits with the digits of one of 64: 19.99 would become
19.989999771118164. What the values then become is `values`'.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

ValueReader = Callable[[Any], Any]


def value_reader(kind: Any) -> ValueReader | None:
    """Return what makes a value of a column what the file says; None where pyarrow does.

    Args:
        kind: the column's `pyarrow.DataType`.

    Example:
        >>> import pyarrow as pa
        >>> value_reader(pa.float32())(19.989999771118164)
        19.99
    """
    from pyarrow import types

    if types.is_float32(kind) or types.is_float16(kind):
        width = np.float32 if types.is_float32(kind) else np.float16
        return lambda value: None if value is None else float(str(width(value)))
    if types.is_map(kind):
        key, item = value_reader(kind.key_type), value_reader(kind.item_type)
        return lambda value: None if value is None else _object([(_read(key, k), _read(item, v)) for k, v in value])
    if types.is_struct(kind):
        fields = {field.name: value_reader(field.type) for field in kind}
        if not any(fields.values()):
            return None
        return lambda value: None if value is None else {name: _read(fields[name], v) for name, v in value.items()}
    if types.is_list(kind) or types.is_large_list(kind) or types.is_fixed_size_list(kind):
        entry = value_reader(kind.value_type)
        return None if entry is None else lambda value: None if value is None else [entry(each) for each in value]
    return None


def _read(reader: ValueReader | None, value: Any) -> Any:
    return value if reader is None else reader(value)


def _object(pairs: list[tuple[Any, Any]]) -> Any:
    """Return a map as an object; one with a name twice as the pairs that it is, so that neither is lost."""
    return dict(pairs) if len({name for name, _ in pairs}) == len(pairs) else pairs
