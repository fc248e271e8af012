"""The report of a comparison: its rows, its drawings, its words, the pages and the tables of the terminal."""
