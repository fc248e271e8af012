"""The formats in which judgments travel, one a module: how each is read, and how it is written."""
