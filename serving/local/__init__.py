"""A bundle in this process: the server's own calls without a network, and DataFrames."""
