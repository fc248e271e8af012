"""What shops bring: records, the files and folders that hold them, σ(y), and a sample shop that is made up."""
