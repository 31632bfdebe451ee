"""WordNet 3.0 as a knowledge graph: ``python -m scripts.wordnet --help``."""
