"""Link prediction small enough for the edge: what training and serving both know."""

__version__ = "0.1.0"
