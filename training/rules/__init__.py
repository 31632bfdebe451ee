"""Rule mining: closed paths of a graph that imply a relation, and their weights.

``walks`` follows paths; ``mine`` finds and weighs those that close triples of train. A library for
explanations: no training reads it.
"""
