"""The metric model: session encoders, item encoder, distances and losses."""
