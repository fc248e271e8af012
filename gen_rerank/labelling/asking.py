"""One question to one judge: sent with OpenAI's client, sent again after 429, 5xx and lost connections, read.

The client waits as `Retry-After` says, or longer each time. What no repetition mends ends the run with one sentence;
what concerns one pair alone, such as a prompt that is too long for the model, is that pair's fault and is counted.
"""

from __future__ import annotations

import json
from time import perf_counter
from typing import Any

import openai

from gen_rerank.data.records import Pair
from gen_rerank.errors import BadInput
from gen_rerank.labelling.answers import read_answer, request_body
from gen_rerank.labelling.journal import JudgeAnswer
from gen_rerank.labelling.judges import Judge

_PATHS = {"json": "/chat/completions", "logprobs": "/chat/completions", "decisions": "/decisions"}
_OF_THE_PAIR = (400, 413, 422)
# Of the first answers: when all of them are refused, it is not the pairs.
_PATIENCE = 3
_SAID = 200  # characters of a server's own words


class AskedJudge:
    """A judge with an open client.

    Args:
        judge: who is asked.

    Raises:
        BadInput: its key is not in the environment.
    """

    def __init__(self, judge: Judge) -> None:
        self.judge = judge
        self._client = openai.AsyncOpenAI(
            base_url=judge.base_url, api_key=judge.secret(), max_retries=judge.retries, timeout=judge.timeout
        )
        self._served = False
        self._refused = 0

    async def close(self) -> None:
        """Close its connections."""
        await self._client.close()

    async def ask(self, pair: Pair, attempt: int) -> JudgeAnswer:
        """Return what the judge says of a pair.

        Args:
            pair: about which.
            attempt: 0, or 1 where the first answer could not be read.

        Raises:
            BadInput: the server is not there, does not know the key or the model, or refuses every question.
        """
        began = perf_counter()
        try:
            raw = await self._post(request_body(self.judge, pair, attempt))
        except openai.APIStatusError as error:
            return self._refusal(error, perf_counter() - began)
        except openai.APIConnectionError as error:
            why = "took too long" if isinstance(error, openai.APITimeoutError) else "cannot be reached"
            raise BadInput(f"{self._name}: the server {why}, after {self.judge.retries} repetitions") from error
        self._served = True
        return read_answer(self.judge, raw, perf_counter() - began)

    async def _post(self, body: dict[str, Any]) -> Any:
        try:
            return await self._client.post(_PATHS[self.judge.reading], body=body, cast_to=object)
        except (ValueError, openai.APIResponseValidationError):  # a proxy's page instead of JSON
            return None

    @property
    def _name(self) -> str:
        return f"judge {self.judge.name!r} at {self.judge.base_url}"

    def _refusal(self, error: openai.APIStatusError, seconds: float) -> JudgeAnswer:
        """Return the fault of a pair that the server does not take.

        Raises:
            BadInput: it is not the pair's.
        """
        status = error.status_code
        if status in (401, 403):
            said = f"in the variable {self.judge.key}" if self.judge.key else "and judges.yaml names none"
            raise BadInput(f"{self._name}: the server wants another key ({said})") from error
        if status == 404:
            raise BadInput(
                f"{self._name}: there is no model {self.judge.model!r}, or no {_PATHS[self.judge.reading]} (404)"
            ) from error
        if status not in _OF_THE_PAIR:
            raise BadInput(
                f"{self._name}: the server answers {status}, after {self.judge.retries} repetitions"
            ) from error
        self._refused += 1
        if not self._served and self._refused >= _PATIENCE:
            raise BadInput(f"{self._name}: every question is refused ({status}: {_said(error)})") from error
        return JudgeAnswer(None, None, f"status {status}", seconds=seconds)


def _said(error: openai.APIStatusError) -> str:
    """Return the beginning of what a server says about a request that it refuses."""
    body = error.body if isinstance(error.body, dict) else {}
    message = body.get("message") or json.dumps(body, default=str)
    return " ".join(str(message).split())[:_SAID]
