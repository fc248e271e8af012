"""Of first_hour.py: commands and what they said, the walk, a book that is made up."""
