"""What the machine does for us: files that appear whole, processes that end, steps that are kept, memory."""
