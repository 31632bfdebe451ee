"""From a file of any layout to numbered facts."""
