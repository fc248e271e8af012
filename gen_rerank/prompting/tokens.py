"""Plain text becomes token ids: line by line, each line once, and never a control token.

Shops send the same products again and again, so a server would tokenize the same text all day. What repeats is not the
prompt but its lines: a title, a brand, a description. `PlainText` therefore tokenizes a text **line by line**, in
training and in serving alike, and remembers the lines. A line ends with a new line that stands between two characters
that are not white space; any other new line, such as one of a run, belongs to the line it stands in.

For byte-level BPE as Qwen and GPT-2 split text, and for BERT's WordPiece, this makes the token ids that the whole text
has: their words never reach from a new line into the text behind it. (A tokenizer that puts a space before every text,
as SentencePiece's do, puts one before every line here.)

What a prompt is made of and which of its fields are cut is `gen_rerank.prompting.prompt`'s.
"""

from __future__ import annotations

import json
import re
from array import array
from collections.abc import Sequence
from itertools import chain
from threading import Lock

from cachetools import LRUCache
from tokenizers import Tokenizer

from gen_rerank.errors import BadInput

# The most tokens that are remembered: the lines of some twenty thousand products of 200 tokens, 50 MB with their text.
LINE_TOKENS = 4_000_000
# The most characters of over-long fields of which is remembered where to cut them: some ten thousand descriptions.
CUT_CHARACTERS = 16_000_000
# What an entry counts beside its content, so that many short ones are bounded too.
_ENTRY = 16

# No token of a known tokenizer is longer on collapsed text; bounds the work that a huge text can cause.
CHARACTERS_PER_TOKEN = 32

# The literal comes first, so that the search runs at memchr's speed.
_LINE_END = re.compile(r"\n(?<=\S\n)(?=\S)")


class PlainText:
    """Tokenizes text that is data, whatever it looks like. May be used from several threads.

    Args:
        tokenizer: the checkpoint's tokenizer, of which a copy without control tokens is used.

    Raises:
        BadInput: the tokenizer makes control tokens out of plain text.

    Example:
        >>> PlainText(tokenizer).token_ids(["oak desk", "<|im_end|>"])  # doctest: +SKIP
        [[412, 87], [31, 95, 411, 66, 93, 95, 33]]
    """

    def __init__(self, tokenizer: Tokenizer) -> None:
        self._tokenizer = _without_control_tokens(tokenizer)
        self._lock = Lock()  # held for look-ups and insertions, never while the tokenizer works
        self._lines: LRUCache[str, array[int]] = LRUCache(LINE_TOKENS, getsizeof=lambda ids: len(ids) + _ENTRY)
        # By text and budget: the text again, to be counted, and how many of its characters are kept.
        self._cuts: LRUCache[tuple[str, int], tuple[str, int]] = LRUCache(
            CUT_CHARACTERS, getsizeof=lambda cut: len(cut[0]) + _ENTRY
        )

    def token_ids(self, texts: Sequence[str]) -> list[list[int]]:
        """Return the token ids of each text; the lines that are new are tokenized in one batch."""
        split = [_lines(text) for text in texts]
        lines = dict.fromkeys(chain.from_iterable(split))
        with self._lock:
            known = {line: self._lines[line] for line in lines if line in self._lines}
        if missing := [line for line in lines if line not in known]:
            encodings = self._tokenizer.encode_batch_fast(missing, add_special_tokens=False)
            new = {line: array("I", encoding.ids) for line, encoding in zip(missing, encodings, strict=True)}
            with self._lock:
                self._lines.update(new)
            known |= new
        return [list(chain.from_iterable([known[line] for line in lines])) for lines in split]

    def cut(self, texts: Sequence[tuple[str, int]]) -> list[str]:
        """Return each text with at most as many tokens as its budget.

        Args:
            texts: single lines without white space at their ends, each with its budget, 0 or more.
        """
        starts = [(text[: budget * CHARACTERS_PER_TOKEN], budget) for text, budget in texts]
        # ASCII stays as it is when it is normalized, and a token has at least one of its characters.
        long = dict.fromkeys(start for start in starts if not (start[0].isascii() and len(start[0]) <= start[1]))
        with self._lock:
            kept = {start: self._cuts[start][1] for start in long if start in self._cuts}
        if missing := [start for start in long if start not in kept]:
            new = self._lengths_kept(missing)
            with self._lock:
                self._cuts.update({start: (start[0], length) for start, length in new.items()})
            kept |= new
        return [text[: kept.get((text, budget), len(text))].rstrip() for text, budget in starts]

    def _lengths_kept(self, texts: Sequence[tuple[str, int]]) -> dict[tuple[str, int], int]:
        """Return how many characters of each text fit into its budget."""
        kept = {(text, budget): len(text) for text, budget in texts}
        asked = list(kept)
        while asked:
            encodings = self._tokenizer.encode_batch(
                [start[0][: kept[start]] for start in asked], add_special_tokens=False
            )
            long = {
                start: encoding for start, encoding in zip(asked, encodings, strict=True) if len(encoding) > start[1]
            }
            for start, encoding in long.items():
                kept[start] = min(kept[start] - 1, encoding.offsets[start[1]][0])
            # Without its end a text may have more tokens: accents were put in another order, for example.
            asked = [start for start in long if not start[0].isascii()]
        return kept


def _lines(text: str) -> list[str]:
    *lines, last = _LINE_END.split(text)
    return [*[line + "\n" for line in lines], last]


def _without_control_tokens(tokenizer: Tokenizer) -> Tokenizer:
    """Return a copy that knows no control tokens and adds none, and prove it on each of them."""
    control = {token.content: number for number, token in tokenizer.get_added_tokens_decoder().items()}
    description = json.loads(tokenizer.to_str())
    description.update(added_tokens=[], post_processor=None, truncation=None, padding=None)
    text = Tokenizer.from_str(json.dumps(description))
    # An unknown word becomes this one, which says nothing and ends nothing.
    unknown = control.get(description["model"].get("unk_token") or "")
    numbers = set(control.values()) - {unknown}
    for token in control:
        if numbers & set(text.encode(token, add_special_tokens=False).ids):
            raise BadInput(
                f"the tokenizer turns the plain text {token!r} into a control token; "
                "its vocabulary is not safe to serve"
            )
    return text
