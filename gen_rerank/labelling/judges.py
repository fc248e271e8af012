"""Judges: a model on an OpenAI-compatible server, the rubric that it is given, and how its answer is read.

`judges.yaml` has a list of them. A key is named by its environment variable and never written down. What changes an
answer (model, rubric, reading, options of the request) is a judge's `prompt_hash`; where its server stands is not part
of it, so that a server may move while judging goes on.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections import Counter
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, Literal, get_args
from urllib.parse import urlsplit

from gen_rerank.data.values import shown
from gen_rerank.errors import BadInput
from gen_rerank.labelling.rubrics import Rubric, read_rubric
from gen_rerank.system.settings import read_settings

Reading = Literal["json", "logprobs", "decisions"]
_FORM = "judges: a list is needed, in which each judge has a base_url and a model"
_NO_KEY = "none"  # what servers without keys are sent


@dataclass(frozen=True)
class Price:
    """What a judge costs, in one's own money for a million tokens."""

    input: float = 0.0
    output: float = 0.0

    def of(self, input_tokens: float, output_tokens: float) -> float:
        """Return what so many tokens cost."""
        return (self.input * input_tokens + self.output * output_tokens) / 1e6


@dataclass(frozen=True, eq=False)
class Judge:
    """One judge.

    Attributes:
        name: in votes and reports; the model and the rubric by default.
        base_url: of the server, as OpenAI's clients take it: with /v1 at its end.
        model: as the server calls it.
        rubric: what it is asked.
        reading: `json`: it writes a grade into a JSON schema; `logprobs`: a distribution over the grades, from the
            log-probabilities of one token; `decisions`: a score question of `/v1/decisions`.
        key: the environment variable that holds the key; empty for none.
        concurrency: how many questions are under way at a time.
        retries: how often a request is sent again after 429, 5xx or a lost connection, with growing pauses.
        timeout: seconds that one request may take.
        price: of its tokens.
        body: further fields of each request, such as `temperature`; they go before ours.
    """

    name: str
    base_url: str
    model: str
    rubric: Rubric
    reading: Reading = "json"
    key: str = ""
    concurrency: int = 8
    retries: int = 8
    timeout: float = 120.0
    price: Price = Price()
    body: dict[str, Any] = field(default_factory=dict)

    @property
    def prompt_hash(self) -> str:
        """What of the judge changes its answers, 16 hexadecimal digits."""
        said = json.dumps([self.model, self.rubric.text, self.reading, self.body], sort_keys=True)
        return hashlib.sha256(said.encode()).hexdigest()[:16]

    def secret(self) -> str:
        """Return the key.

        Raises:
            BadInput: the variable is not set.
        """
        found = os.environ.get(self.key, "") if self.key else _NO_KEY
        if not found:
            raise BadInput(f"judge {self.name!r}: the environment variable {self.key} is not set; it holds the key")
        return found


def read_judges(file: Path) -> tuple[Judge, ...]:
    """Return the judges of a YAML file.

    Raises:
        BadInput: the file cannot be read, or something in it is wrong; the sentence names the judge and the key.

    Example:
        >>> [judge.name for judge in read_judges(Path("judges.yaml"))]  # doctest: +SKIP
        ['qwen3-8b/shopper', 'qwen3-8b/constraints']
    """
    given = read_settings(file, _FORM)
    listed = given.pop("judges", None)
    if not isinstance(listed, list) or not listed or not all(isinstance(one, dict) for one in listed):
        raise BadInput(f"{file}: {_FORM}")
    if given:
        raise BadInput(f"{file}: unknown key {next(iter(given))!r}; there is judges, a list")
    judges = tuple(_judge(file, number, one) for number, one in enumerate(listed, start=1))
    twice = [name for name, count in Counter(judge.name for judge in judges).items() if count > 1]
    if twice:
        raise BadInput(f"{file}: two judges are called {twice[0]!r}; give each a name of its own")
    return judges


def _judge(file: Path, number: int, given: dict[str, Any]) -> Judge:
    where = f"{file}: judge {given.get('name', number)}"
    known = [one.name for one in fields(Judge)]
    unknown = [key for key in given if key not in known]
    if unknown:
        raise BadInput(f"{where}: unknown key {shown(unknown[0])}; there are {', '.join(known)}")
    for key in ("base_url", "model"):
        if not given.get(key):
            raise BadInput(f"{where}: {key} is missing")
    for key in ("name", "base_url", "model", "key", "rubric"):
        if key in given and not isinstance(given[key], str):
            raise BadInput(f"{where}: {key}: a text is needed, not {shown(given[key])}")
    address = urlsplit(given["base_url"])
    if address.scheme not in ("http", "https") or not address.netloc:
        raise BadInput(f"{where}: base_url: an address such as http://127.0.0.1:8000/v1 is needed")
    if given.get("reading", "json") not in get_args(Reading):
        raise BadInput(f"{where}: reading: choose one of {', '.join(get_args(Reading))}")
    if not isinstance(given.get("body", {}), dict):
        raise BadInput(f"{where}: body: a mapping of fields of the request is needed")
    rubric = read_rubric(given.get("rubric", "shopper"), file.parent)
    told = {key: value for key, value in given.items() if key not in ("rubric", "price", *_NUMBERS)}
    numbers = {key: _number(where, key, given[key], *least) for key, least in _NUMBERS.items() if key in given}
    name = given.get("name", f"{given['model']}/{rubric.name.removesuffix('.yaml')}")
    return Judge(**{**told, **numbers, "name": name, "rubric": rubric, "price": _price(where, given.get("price"))})


# The least value of each, and whether it is a whole number.
_NUMBERS = {"concurrency": (1, True), "retries": (0, True), "timeout": (0.1, False)}


def _price(where: str, given: object) -> Price:
    if given is None:
        return Price()
    known = [one.name for one in fields(Price)]
    if not isinstance(given, dict) or not given or any(key not in known for key in given):
        raise BadInput(f"{where}: price: a mapping of input and output is needed, each for a million tokens")
    return Price(**{key: _number(f"{where}: price", key, value, 0, False) for key, value in given.items()})


def _number(where: str, key: str, value: object, least: float, whole: bool) -> Any:
    right = isinstance(value, int) if whole else isinstance(value, int | float)
    if isinstance(value, bool) or not right or not least <= float(value) < float("inf"):  # type: ignore[arg-type]
        kind = "whole number" if whole else "number"
        raise BadInput(f"{where}: {key}: a {kind} from {least:g} on is needed, not {shown(value)}")
    return value
