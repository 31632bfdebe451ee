"""Continue training on a changed graph: `mulde update`."""
