"""The report on a bundle: one self-contained HTML page."""
