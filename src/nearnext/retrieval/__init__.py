"""Nearest items to session embeddings, behind one `Index` protocol; arrays in, arrays out."""

from nearnext.retrieval.exact import ExactIndex
from nearnext.retrieval.index import Index, Neighbours

__all__ = ["ExactIndex", "Index", "Neighbours"]
