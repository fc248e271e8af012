"""How the public yes/no rerankers are prompted, which carry no `gen_rerank.json`: they open under their own names.

A copy in a folder is recognised by the folder's name; under any other name such a model needs a card of its own,
because a causal model does not show whether it was trained to answer "yes" or "no".
"""

from __future__ import annotations

from pathlib import Path

from gen_rerank.prompting.prompt import FieldName, PromptSpec

# The instructions of the models' own examples (https://huggingface.co/Qwen/Qwen3-Reranker-0.6B, evaluation of
# https://github.com/bajajra/RexReranker); a request may bring another.
_SEARCH = "Given a web search query, retrieve relevant passages that answer the query"
_PRODUCTS = "Given a product search query, retrieve relevant products that match the query"
# The length of the models' own examples; a document of one string may fill most of it.
_MAX_LENGTH = 8192
_BUDGETS: dict[FieldName, int] = {
    "title": 6144,
    "brand": 64,
    "category": 64,
    "attributes": 1024,
    "description": 4096,
    "query": 512,
    "instruction": 512,
}


def _prompted(instruction: str) -> PromptSpec:
    return PromptSpec(template="qwen3_reranker", max_length=_MAX_LENGTH, budgets=_BUDGETS, instruction=instruction)


# By hub name, worst answer first.
ANSWERS = ("no", "yes")
YES_NO = {
    "Qwen/Qwen3-Reranker-0.6B": _prompted(_SEARCH),
    "Qwen/Qwen3-Reranker-4B": _prompted(_SEARCH),
    "Qwen/Qwen3-Reranker-8B": _prompted(_SEARCH),
    "thebajajra/RexReranker-0.6B": _prompted(_PRODUCTS),
}


def yes_no_prompt(name: str | Path) -> PromptSpec | None:
    """Return the prompt of a public yes/no reranker, or None when this is none.

    Args:
        name: a hub name, or a folder whose own name is that of the model.

    Example:
        >>> yes_no_prompt("models/Qwen3-Reranker-0.6B").template
        'qwen3_reranker'
    """
    for known, spec in YES_NO.items():
        if str(name) == known or Path(name).name == known.split("/")[1]:
            return spec
    return None
