"""Checks for tests of recommenders, samplers and encoders, the user's own included."""

from nearnext.testing.lists import assert_same_lists

__all__ = ["assert_same_lists"]
