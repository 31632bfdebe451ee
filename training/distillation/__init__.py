"""Teachers, Senior and Junior: one training step."""
