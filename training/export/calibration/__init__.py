"""Probabilities, plausibility and relation priors, fitted on valid."""
