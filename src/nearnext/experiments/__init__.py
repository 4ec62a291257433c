"""What is run: comparisons, statistics, and single models, as plain results."""
