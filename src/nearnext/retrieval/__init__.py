"""Nearest items to session embeddings, behind one `Index` protocol; numpy arrays, no tensors."""

from nearnext.retrieval.exact import ExactIndex
from nearnext.retrieval.index import Index, Neighbours

__all__ = ["ExactIndex", "Index", "Neighbours"]
