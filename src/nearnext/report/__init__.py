"""Results for people: terminal tables, figures, and one self-contained HTML page."""
