"""Losses: pure functions on distances, each a frozen config; and those on embeddings, by name."""

from nearnext.model.losses.bpr import BPR
from nearnext.model.losses.contrastive import Contrastive
from nearnext.model.losses.loss_input import Loss, LossInput
from nearnext.model.losses.metric_learning import EmbeddingLoss, MetricLearning, MetricLearningLoss
from nearnext.model.losses.metric_learning_names import metric_learning_names
from nearnext.model.losses.named import loss_named
from nearnext.model.losses.ncas import NCAS
from nearnext.model.losses.top1 import TOP1
from nearnext.model.losses.triplet import TABLE_3_TRIPLETS, Triplet
from nearnext.model.losses.warp import WARP

__all__ = [
    "BPR",
    "NCAS",
    "TABLE_3_TRIPLETS",
    "TOP1",
    "WARP",
    "Contrastive",
    "EmbeddingLoss",
    "Loss",
    "LossInput",
    "MetricLearning",
    "MetricLearningLoss",
    "Triplet",
    "loss_named",
    "metric_learning_names",
]
