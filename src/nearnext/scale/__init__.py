"""More machines than one: executors that run the same functions as one machine does."""
