"""Vectors of entities that the training never saw, from a few facts about them."""
