"""Commands that measure or rewrite a bundle."""
