"""The default recommender: nearest items and session-kNN votes, re-ranked where that helps on held-out sessions."""
