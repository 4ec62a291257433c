"""Recommenders behind one protocol: popularity, rules, session neighbours, GRU4Rec."""
