"""The facts that a bundle carries, and rules mined from them."""
