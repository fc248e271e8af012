"""What shops, judges and public data sets bring, made into a data folder, once, with a report."""
