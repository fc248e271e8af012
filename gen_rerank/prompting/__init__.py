"""A pair becomes token ids: one `Prompt` for training, evaluation, every backend and the server alike."""
