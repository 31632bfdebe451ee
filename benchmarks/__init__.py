"""Programs that measure; none of them is a test. Figures and pages are written beside them."""
