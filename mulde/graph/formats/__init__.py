"""Readers of one format each; ``mulde.graph.reading.read`` chooses."""
