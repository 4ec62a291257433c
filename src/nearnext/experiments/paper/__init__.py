"""The paper's Tables 1, 2 and 3, its Figure 1 and the counts of its §5.5, for any log.

Twardowski, Zawistowski, Zaborowski, *Metric Learning for Session-based Recommendations*, arXiv:2101.02655.
"""
