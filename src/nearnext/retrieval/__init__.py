"""Nearest items to session embeddings, behind one `Index` protocol; arrays in, arrays out."""

from nearnext.retrieval.approximate import ApproximateIndex
from nearnext.retrieval.building import IndexKind, IndexReport, build_index
from nearnext.retrieval.exact import ExactIndex, Index, Neighbours

__all__ = ["ApproximateIndex", "ExactIndex", "Index", "IndexKind", "IndexReport", "Neighbours", "build_index"]
