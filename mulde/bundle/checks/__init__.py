"""Checks of a bundle's files before they are used."""
