"""Commands that train or import a model."""
