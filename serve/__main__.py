"""`python -m serve MODEL`: the server as a process of its own, for `start_server`; people use `gen-rerank serve`."""

from __future__ import annotations

import argparse
import sys

from gen_rerank.errors import BadInput
from serve.launch import serve_model


def main() -> int:
    """Serve until told to stop; exit code 2 with one sentence on bad input."""
    parser = argparse.ArgumentParser(prog="python -m serve", description="Serve a checkpoint.")
    parser.add_argument("model", help="a checkpoint folder or a hub name")
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=8000)
    parser.add_argument("--name", help="what clients call the model")
    given = parser.parse_args()
    try:
        serve_model(given.model, host=given.host, port=given.port, served_name=given.name)
    except BadInput as error:
        sys.stderr.write(f"{error}\n")
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
