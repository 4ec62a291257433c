"""The metric model as a recommender: its names, its options, and how it is fitted and asked."""
