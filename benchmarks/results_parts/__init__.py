"""The six systems of results.py: the shops, how they are trained and measured, how they are compared, the tables."""
