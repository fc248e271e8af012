"""What every page, table and drawing shares: numbers in words, axes, Markdown, HTML, progress."""
