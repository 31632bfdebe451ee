"""The sub-commands of ``mulde``: each module adds its own with ``register``."""
