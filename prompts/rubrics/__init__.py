"""The rubrics of LLM judges, as package data; see README.md above. `gen_rerank.labelling.rubrics` reads them."""
