"""SML, session-based metric learning as in the paper: its names, options and presets, and how it is fitted."""
