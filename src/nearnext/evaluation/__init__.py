"""The protocol, the metrics, their significance, and the leak audit."""
