"""Readers of one format each; ``mulde.graph.read`` chooses."""
