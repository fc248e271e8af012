"""`python -m gen_rerank`: the same as the `gen-rerank` command."""

from gen_rerank.cli import main

if __name__ == "__main__":
    main()
