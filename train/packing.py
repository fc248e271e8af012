"""Rows that share a prefix: a product is read once for all the queries that it is judged for.

With the product before the query, every pair of one product begins with the same tokens. A training row is that prefix
followed by the tails (query and suffix) of several pairs. Positions restart after the prefix, and the attention mask
lets a tail see the prefix and itself only; each pair thus gets exactly the hidden state that it has alone, at a
fraction of the tokens. With the query first the same code shares the query among its products. Nothing here knows of
losses or trainers.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from os.path import commonprefix
from typing import Any

import torch
from torch import Tensor
from transformers import PreTrainedModel

from gen_rerank.errors import BadInput
from train.attention import attention_kernel

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


def pack(encoded: Sequence[list[int]], groups: Sequence[Hashable], row_tokens: int) -> list[Row]:
    """Group pairs and lay each group out in rows of at most `row_tokens` tokens (one pair at least).

    Args:
        encoded: token ids of each pair.
        groups: which pairs may share a row: the name of the part that comes first in the prompt (product or query).
        row_tokens: the most tokens of a row.

    Example:
        >>> pack([[1, 2, 3], [1, 2, 4], [5]], ["a", "a", "b"], row_tokens=8)[0]
        Row(prefix=[1, 2], tails=[[3], [4]], members=[0, 1])
    """
    together: dict[Hashable, list[int]] = defaultdict(list)
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
        `[pairs, 2]`, the row and column of each pair's last token, in the order of the rows' members. `t` is a multiple
        of `PAD_TO`.
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


def last_states(
    model: PreTrainedModel, input_ids: Tensor, position_ids: Tensor, attention_mask: Tensor, readout: Tensor
) -> Tensor:
    """Return the hidden state at each pair's last token, `[pairs, hidden]` float32, of what `collate` returned."""
    with attention_kernel(input_ids):
        hidden = model.get_decoder()(
            input_ids=input_ids, position_ids=position_ids, attention_mask=attention_mask, use_cache=False
        ).last_hidden_state
    states: Tensor = hidden[readout[:, 0], readout[:, 1]].float()
    return states


@torch.no_grad()
def refuse_unpackable(model: PreTrainedModel, row_tokens: int) -> None:
    """Refuse a model whose pairs do not get, in a row, the states that they have alone.

    Layers that slide a window over the row, convolve it or build their own mask do not keep tails apart. Three short
    pairs are read both ways; a window is too long for them to show, so the configuration is asked.

    Raises:
        BadInput: this model cannot train on rows that share a prefix.
    """
    name = type(model).__name__
    window = getattr(model.config, "sliding_window", None)
    slides = "sliding_attention" in (getattr(model.config, "layer_types", None) or ())
    if slides and window is not None and window < row_tokens:
        raise BadInput(
            f"{name} has layers with a window of {window} tokens, which does not fit rows of pairs: "
            f"set row_tokens to {window} at most"
        )
    pairs = [[5, 6, 7, 8, 9, tail, tail + 1] for tail in (10, 20, 30)]
    mode = model.training
    model.eval()
    try:
        together, alone = (_read(model, pairs, groups) for groups in (["a", "a", "a"], ["a", "b", "c"]))
    except (TypeError, ValueError, RuntimeError, AttributeError) as error:
        raise BadInput(
            f"{name} cannot read rows of pairs ({' '.join(str(error).split())[:200]}); choose another base"
        ) from error
    finally:
        model.train(mode)
    if (together - alone).abs().max() > 0.05 * alone.abs().max():
        raise BadInput(
            f"{name} does not keep the pairs of a row apart (its layers see across them); choose another base"
        )


def attention_mask(segments: Tensor) -> Tensor:
    """Return who may attend to whom, `[b, 1, t, t]` bool, from segments `[b, t]`: 0 prefix, 1… tails, -1 padding."""
    earlier = torch.ones(segments.shape[1], segments.shape[1], dtype=torch.bool).tril()
    same = segments[:, :, None] == segments[:, None, :]
    return (earlier & (same | (segments == 0)[:, None, :]))[:, None]


def _read(model: PreTrainedModel, pairs: Sequence[list[int]], groups: Sequence[str]) -> Tensor:
    rows = pack(pairs, groups, row_tokens=64)
    return last_states(model, **{name: value.to(model.device) for name, value in collate(rows).items()})
