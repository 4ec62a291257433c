"""Events, sessions, vocabulary, filters, splits, statistics and synthetic logs."""
