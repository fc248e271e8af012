"""What quantization.py measures of each scheme: quality over several trainings, costs, resident memory."""
