"""What an experiment finds: figures, and beside some what was promised; and how large the experiments are."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from experiments.clients import Reply
from experiments.scored import SAME


@dataclass(frozen=True)
class Sizes:
    """How large the experiments are.

    Attributes:
        documents: of a request.
        requests: that differ, and whose scores are computed before.
        cases: schemathesis's, for each route, half of them valid.
        minutes: of overload.
        times: the server's capacity that it is asked for while it is overloaded.
        queued_pairs: the server's bound while it is overloaded.
        clients: that ask at the same time when the engine is killed or the server told to stop.
        body_seconds: the server's limit for slow clients.
        slow: clients that send byte by byte.
        vanishing: clients that leave.
        swaps: of adapters under load.
        compared: requests that are asked alone and amid others.
    """

    documents: int = 16
    requests: int = 300
    cases: int = 1000
    minutes: float = 10.0
    times: float = 2.0
    queued_pairs: int = 4096
    clients: int = 200
    body_seconds: float = 3.0
    slow: int = 20
    vanishing: int = 200
    swaps: int = 60
    compared: int = 200


@dataclass(frozen=True)
class Finding:
    """One line of the table.

    Attributes:
        experiment: which.
        what: was measured.
        value: the figure.
        wanted: what was promised; empty where a figure is only stated.
        held: whether the promise was kept.
    """

    experiment: str
    what: str
    value: float | int | str
    wanted: str = ""
    held: bool = True


class Notes:
    """Collects the findings of one experiment."""

    def __init__(self, experiment: str) -> None:
        self.experiment = experiment
        self.findings: list[Finding] = []

    def stated(self, what: str, value: float | int | str) -> None:
        """Note a figure."""
        self.findings.append(Finding(self.experiment, what, value))

    def wanted(self, what: str, value: float | int | str, wanted: str, held: bool) -> None:
        """Note a figure, what was promised, and whether that holds."""
        self.findings.append(Finding(self.experiment, what, value, wanted, held))

    def same_scores(self, replies: Sequence[Reply]) -> None:
        """Note the largest difference of the answers from the offline scores."""
        largest = max((reply.difference for reply in replies if reply.status == 200), default=float("nan"))
        self.wanted("largest difference from the offline score", largest, f"below {SAME}", largest < SAME)
