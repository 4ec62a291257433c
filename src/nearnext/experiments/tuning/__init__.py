"""Tuning: options of a method that do best on a validation period, found within a budget of trials and minutes."""
