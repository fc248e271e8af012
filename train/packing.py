"""Rows that share a prefix: a product is read once for all the queries that it is judged for.

With the product before the query, every pair of one product begins with the same tokens. A training row is that prefix
followed by the tails (query and suffix) of several pairs. Positions restart after the prefix, and the attention mask lets a tail see
the prefix and itself only; each pair thus gets exactly the hidden state that it has alone, at a fraction of the tokens. With the query first
the same code shares the query among its products. Nothing here knows of losses or trainers.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from os.path import commonprefix
from typing import Any

import torch
from torch import Tensor

# Widths are multiples of this: kernels like it, and a batch of rows with almost equal lengths wastes next to nothing.
PAD_TO = 8


@dataclass(frozen=True)
class Row:
    """One training row.

    Attributes:
        prefix: the tokens that its pairs share.
        tails: the rest of each pair's tokens; none is empty.
        members: which pair each tail belongs to.
    """

    prefix: list[int]
    tails: list[list[int]]
    members: list[int]

    @property
    def length(self) -> int:
        """The tokens of the row."""
        return len(self.prefix) + sum(map(len, self.tails))


def pack(encoded: Sequence[list[int]], groups: Sequence[str], row_tokens: int) -> list[Row]:
    """Group pairs and lay each group out in rows of at most `row_tokens` tokens (one pair at least).

    Args:
        encoded: token ids of each pair.
        groups: the name of the part that comes first in the prompt (product or query) of each pair.
        row_tokens: the most tokens of a row.

    Example:
        >>> pack([[1, 2, 3], [1, 2, 4], [5]], ["a", "a", "b"], row_tokens=8)[0]
        Row(prefix=[1, 2], tails=[[3], [4]], members=[0, 1])
    """
    together: dict[str, list[int]] = defaultdict(list)
    for member, group in enumerate(groups):
        together[group].append(member)
    rows = []
    for members in together.values():
        # Of lists, it compares element by element, which is what is wanted here.
        shared = len(commonprefix([encoded[member][:-1] for member in members]))  # noqa: RUF071
        start = 0
        while start < len(members):
            end, room = start, row_tokens - shared
            while end < len(members) and (end == start or room >= len(encoded[members[end]]) - shared):
                room -= len(encoded[members[end]]) - shared
                end += 1
            part = members[start:end]
            rows.append(Row(encoded[part[0]][:shared], [encoded[member][shared:] for member in part], part))
            start = end
    return rows


def collate(rows: Sequence[Row]) -> dict[str, Any]:
    """Return model inputs for rows.

    Returns:
        `input_ids` and `position_ids` `[b, t]`, `attention_mask` `[b, 1, t, t]` bool (True may attend), and `readout`
        `[pairs, 2]`, the row and column of each pair's last token, in the order of the rows' members. `t` is a multiple of
        `PAD_TO`.
    """
    width = -(-max(row.length for row in rows) // PAD_TO) * PAD_TO
    tokens = torch.zeros(len(rows), width, dtype=torch.long)
    positions = torch.zeros(len(rows), width, dtype=torch.long)
    segments = torch.full((len(rows), width), -1, dtype=torch.long)
    readout = []
    for i, row in enumerate(rows):
        shared = column = len(row.prefix)
        tokens[i, :shared] = torch.tensor(row.prefix, dtype=torch.long)
        positions[i, :shared] = torch.arange(shared)
        segments[i, :shared] = 0
        for number, tail in enumerate(row.tails, start=1):
            span = slice(column, column + len(tail))
            tokens[i, span] = torch.tensor(tail)
            positions[i, span] = torch.arange(shared, shared + len(tail))
            segments[i, span] = number
            column += len(tail)
            readout.append((i, column - 1))
    return {
        "input_ids": tokens,
        "position_ids": positions,
        "attention_mask": attention_mask(segments),
        "readout": torch.tensor(readout),
    }


def attention_mask(segments: Tensor) -> Tensor:
    """Return who may attend to whom, `[b, 1, t, t]` bool, from segments `[b, t]`: 0 prefix, 1… tails, -1 padding."""
    earlier = torch.ones(segments.shape[1], segments.shape[1], dtype=torch.bool).tril()
    same = segments[:, :, None] == segments[:, None, :]
    return (earlier & (same | (segments == 0)[:, None, :]))[:, None]
