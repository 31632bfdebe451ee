"""Entities of a bundle: names, labels, types, places on the map."""
