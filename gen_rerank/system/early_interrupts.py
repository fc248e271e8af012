"""Once this is imported, an interruption that nobody catches prints its one line, and no traceback, in this process.

The command line imports it before anything else: its other modules take a second, in which Ctrl-C may come.
"""

from __future__ import annotations

import sys
from types import TracebackType

from gen_rerank.system.interrupts import INTERRUPTED, interrupted_sentence

_shown_else = sys.excepthook


def _show(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    if not isinstance(error, KeyboardInterrupt):
        _shown_else(kind, error, trace)
        return
    sys.stderr.write(f"error: {interrupted_sentence(error)}\n")
    sys.exit(INTERRUPTED)


sys.excepthook = _show
