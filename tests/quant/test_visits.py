"""How a visit ended, in a sentence: the last words of a process that died, the cause that an engine logged first."""

from __future__ import annotations

import signal

from quant.measured_process import VisitOutcome
from quant.visits import how_it_ended, with_root_cause


def test_a_death_is_told_with_its_last_words() -> None:
    assert (
        how_it_ended(1, "Traceback\n  File x\nValueError: no\n\n")
        == "the visit ended with exit code 1 (ValueError: no)"
    )
    assert how_it_ended(-signal.SIGKILL, "") == "the visit ended by SIGKILL"


def test_the_cause_is_what_the_engines_process_logged_first() -> None:
    refused = VisitOutcome(
        refused="vLLM cannot open this checkpoint here (Engine core initialization failed. See root cause above. "
        "Failed core proc(s): {})"
    )
    log = (
        "Triton is installed, but doesn't include CPU backend. Disabling Triton.\n"
        "(Worker pid=16) ERROR 11-22 08:20:19 [multiproc_executor.py:953]     raise ValueError(\n"
        "(Worker pid=16) ERROR 11-22 08:20:19 [multiproc_executor.py:953] ValueError: No kernel for it. Reasons: \n"
        "(Worker pid=16) ERROR 11-22 08:20:19 [multiproc_executor.py:953] \n"
        "(EngineCore pid=11) ERROR 11-22 08:20:24 [core.py:1510] Exception: WorkerProc initialization failed.\n"
    )
    assert with_root_cause(refused, log) == VisitOutcome(
        refused="vLLM cannot open this checkpoint here (No kernel for it)"
    )
    assert with_root_cause(refused, "killed") == refused
    assert with_root_cause(VisitOutcome(refused="no such folder"), log) == VisitOutcome(refused="no such folder")
