"""The default recommender: a metric model that starts from the items' neighbourhoods, and votes that it calibrates."""
