"""Path ranking: which closed paths of a graph stand for a relation, and how strongly.

``walks`` follows paths, ``mine`` finds and weighs those that close triples of train, ``evidence``
says for each training query which entities they speak for. What it finds is asked beside the
teachers (``Distilled``); it is never exported.
"""
