"""Two models in a row: an encoder reads all candidates, a decoder those that may yet be among the best."""
