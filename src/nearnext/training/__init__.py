"""Training of the metric model: one loop; schedule and early stopping as values; checkpoints, resume."""
