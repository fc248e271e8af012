"""The prompt templates, as package data; see README.md in this folder. `gen_rerank.prompting.prompt` renders them."""
