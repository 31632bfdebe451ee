"""Each limit of the contract at, below and above it, through the real port."""
