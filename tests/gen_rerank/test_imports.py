"""Importing the library is light."""

from __future__ import annotations

import json
import subprocess
import sys

HEAVY = ("torch", "vllm", "trl", "ray", "transformers", "scipy", "pandas", "bm25s", "pyarrow")

# Modules are counted and not seconds: a machine that is busy, or slow, loads as many. When this was written `import
# gen_rerank` loaded 74 and the help 383.
_MOST_OF_IMPORT, _MOST_OF_HELP = 150, 500

_SCRIPT = """
import json, sys
import gen_rerank
loaded = len(sys.modules)
for name in gen_rerank.__all__:
    getattr(gen_rerank, name)
print(json.dumps({"loaded": loaded, "modules": sorted({name.split(".")[0] for name in sys.modules})}))
"""


def fresh_import() -> dict:
    done = subprocess.run([sys.executable, "-c", _SCRIPT], capture_output=True, text=True, check=True, timeout=300)
    return json.loads(done.stdout)


def test_importing_is_light():
    run = fresh_import()
    assert not set(HEAVY) & set(run["modules"])
    assert run["loaded"] < _MOST_OF_IMPORT


def test_a_script_with_data_and_measures_can_start_an_engine():
    """What it imports is imported again in vLLM's workers, which (0.32) do not start where numba is."""
    parts = (
        "evaluation.evaluation",
        "evaluation.floors",
        "evaluation.measuring",
        "bm25",
        "data.sample",
        "reranker",
        "demo.report",
    )
    names = [f"gen_rerank.{name}" for name in parts] + ["quant.comparison", "quant.drift", "quant.measured_process"]
    script = f"import {', '.join(names)}, sys; sys.exit('numba' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", script], check=False, timeout=300).returncode == 0


_HELP = """
import sys
sys.argv = ["gen-rerank", "--help"]
from gen_rerank.cli import main
try:
    main()
finally:
    print(len(sys.modules), *{name.split(".")[0] for name in sys.modules}, file=sys.stderr)
"""


def help_run() -> list[str]:
    done = subprocess.run([sys.executable, "-c", _HELP], capture_output=True, text=True, check=False, timeout=300)
    return done.stderr.splitlines()[-1].split()


def test_the_help_is_light():
    """Mounting the commands of all rooms opens none of what they work with."""
    loaded, *names = help_run()
    assert not set(HEAVY) & set(names)
    assert int(loaded) < _MOST_OF_HELP
