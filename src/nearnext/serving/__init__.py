"""The service: recommendations over HTTP from a saved model, with session state, a live catalogue and model swaps."""
