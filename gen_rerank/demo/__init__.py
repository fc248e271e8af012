"""The whole of the project once, small: `gen-rerank demo` and its report."""
