"""What a candidate must share with its reference, read from their files."""
