"""Commands that ask a server or a bundle."""
