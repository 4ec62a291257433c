"""nearnext: from a click log to a next-item recommender."""
