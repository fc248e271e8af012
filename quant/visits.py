"""One visit from outside: its process is started, waited for and stopped, and how it ended is said in a sentence.

What the process does is `quant.measured_process`'s, what its figures mean is `quant.cost`'s. It leaves nothing behind,
whatever happens to it or to us.
"""

from __future__ import annotations

import re
import signal
import subprocess
from pathlib import Path

from gen_rerank.system.own_packages import own_module
from gen_rerank.system.processes import start_group, stop_group
from quant.measured_process import VisitOrder, VisitOutcome

# In which a visit can stop its engine.
_STOP_SECONDS = 15
# How a process of vLLM's logs the last line of a traceback.
_ENGINE_ERROR = re.compile(r"^\(\w+ pid=\d+\) ERROR [^\]]*\] \w[\w.]*(?:Error|Exception): (.+)$", re.MULTILINE)
_SEE_ABOVE = "See root cause above"


def make_visit(order: VisitOrder, folder: Path) -> VisitOutcome:
    """Start a visit and wait until it is over.

    Args:
        order: what it does, and for how long it may.
        folder: for its files.

    Raises:
        KeyboardInterrupt: after Ctrl-C, when its processes have ended.
    """
    told, answer, log = folder / "order.json", folder / "outcome.json", folder / "visit.log"
    told.write_text(order.model_dump_json(), encoding="utf-8")
    answer.unlink(missing_ok=True)
    command = own_module("quant.measured_process", str(told), str(answer))
    with log.open("wb") as output, start_group(command, output, held=True) as process:
        try:
            code = process.wait(order.budget.timeout)
        except subprocess.TimeoutExpired:
            limit = order.budget.timeout
            return VisitOutcome(refused=f"the visit was not over after {limit:,.0f} s, and was stopped")
        finally:
            stop_group(process, _STOP_SECONDS)
    words = log.read_text(encoding="utf-8", errors="replace")
    if not answer.is_file():  # with one, the work was done, however the process ended afterwards
        return VisitOutcome(refused=how_it_ended(code, words))
    return with_root_cause(VisitOutcome.model_validate_json(answer.read_bytes()), words)


def how_it_ended(code: int, log: str) -> str:
    """Return the end of a visit that gave no answer, with its last words.

    Args:
        code: of its exit; negative for a signal.
        log: what it printed.

    Example:
        >>> how_it_ended(1, "ValueError: no")
        'the visit ended with exit code 1 (ValueError: no)'
    """
    end = f"with exit code {code}" if code > 0 else f"by {signal.Signals(-code).name}"
    last = next((line.strip() for line in reversed(log.split("\n")) if line.strip()), "")
    return f"the visit ended {end}" + (f" ({_sentence(last)})" if last else "")


def with_root_cause(outcome: VisitOutcome, log: str) -> VisitOutcome:
    """Put the cause that the engine's process logged in the place of vLLM's own exception, which only says it ended."""
    cause = _ENGINE_ERROR.search(log) if _SEE_ABOVE in outcome.refused else None
    if cause is None:
        return outcome
    return VisitOutcome(refused=f"vLLM cannot open this checkpoint here ({_sentence(cause.group(1))})")


def _sentence(text: str) -> str:
    """Return what an engine says without the heading of a list that does not follow."""
    return text.strip().removesuffix("Reasons:").rstrip(" .:")
