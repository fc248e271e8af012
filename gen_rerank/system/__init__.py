"""What the machine does for us: files that appear whole, processes that end, memory, and what computer this is."""
