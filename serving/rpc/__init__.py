"""The RPCs: a message in, a call of a model, a message out."""
