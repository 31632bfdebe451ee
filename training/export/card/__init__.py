"""The card of a bundle."""
