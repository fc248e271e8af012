"""What every page, table and drawing shares: numbers in words, axes, plots, Markdown, HTML, progress, the shell."""
