"""The search space of every method that can be tuned: which options, in which ranges, and why.

The first trial of a study is always the option set that the search begins with, inside these ranges or not.
"""

from types import MappingProxyType

from nearnext.errors import ConfigError
from nearnext.experiments.tuning.ranges import Choice, Real, Searched, Space, Whole
from nearnext.recommenders.registry import canonical_name
from nearnext.recommenders.sml.names import is_metric_name, parts_of_name

__all__ = ["ENCODER_SPACES", "LOSS_SPACES", "SPACES", "register_space", "space_of"]

DECAYS = Choice("same", "div", "linear", "quadratic", "log")

NEIGHBOURS = Searched(
    "k", Whole(50, 2000, log=True), "few are precise, many know rare items; published choices: 50-1500"
)
SAMPLE = Searched(
    "sample_size", Whole(500, 10_000, log=True), "how far back neighbours are looked for; published choices: 500-5000"
)
SIMILARITY = Searched("similarity", Choice("cosine", "jaccard", "dice", "vec", "binary"), "all that there are")
SAMPLING = Searched("sampling", Choice("recent", "random", "common"), "all that there are")


def _decay_length(option: str, of_what: str, longest: float) -> Searched:
    return Searched(option, Real(0.1, longest, log=True), f"decay of {of_what}; at the upper end it hardly decays")


SPACES: dict[str, Space] = {
    "pop": Space((), "it has no options"),
    "spop": Space((), "it has no options"),
    "markov-1": Space((), "pruning only shortens its lists"),
    "ar": Space((), "pruning only shortens its lists"),
    "sr": Space(
        (
            Searched("steps", Whole(1, 20), "how far behind a follower may be; published choices: 4-15"),
            Searched("weighting", DECAYS, "how its weight falls with the distance: all that there are"),
        )
    ),
    "sknn": Space((NEIGHBOURS, SAMPLE, SIMILARITY, SAMPLING)),
    "vsknn": Space(
        (
            NEIGHBOURS,
            SAMPLE,
            Searched("similarity", Choice("vec", "cosine"), "the published one, and one that heeds the length"),
            Searched("weighting", DECAYS, "how fast old clicks are forgotten: all that there are"),
            Searched("weighting_score", DECAYS, "how fast the votes of old clicks are: all that there are"),
            Searched("idf_weighting", Real(0.0, 10.0), "how much rare items gain; published choices: 0-10"),
        )
    ),
    "vstan": Space(
        (
            NEIGHBOURS,
            SAMPLE,
            SIMILARITY,
            _decay_length("lambda_spw", "old clicks, in clicks; published choices: 1.81-4", 100.0),
            _decay_length("lambda_snh", "old sessions, in days; published choices: 5-100", 400.0),
            _decay_length("lambda_inh", "items far from the shared one, in clicks; published choices: 0.4525-4", 100.0),
            _decay_length("lambda_ipw", "votes of old clicks, in clicks; published choices: 0.00001-3.62", 100.0),
            Searched("lambda_idf", Real(0.0, 10.0), "how much rare items gain; published choices: 0-10"),
        )
    ),
    "gru4rec": Space(
        (
            Searched("loss", Choice("cross-entropy", "bpr-max"), "which one wins depends on the log"),
            Searched("layers", Choice([64], [96], [128], [192], [256], [384], [512]), "the authors' range is 64-512"),
            Searched("epochs", Whole(3, 12), "it has no early stopping, so that too many overfit"),
            Searched("batch_size", Whole(32, 256, log=True), "smaller: more updates, slower; the authors' range"),
            Searched("learning_rate", Real(0.01, 0.25, log=True), "the authors' range for Adagrad"),
            Searched("momentum", Real(0.0, 0.9), "the authors' range", {"optimiser": ("adagrad",)}),
            Searched("dropout_embedding", Real(0.0, 0.5), "the authors' range"),
            Searched("dropout_hidden", Real(0.0, 0.7), "the authors' range"),
            Searched("sample_alpha", Real(0.0, 1.0), "negatives from uniform to popular; the authors' range"),
            Searched("logq", Choice(0.0, 1.0), "without or with the correction", {"loss": ("cross-entropy",)}),
            Searched("bpreg", Real(0.0, 2.0), "the authors' range", {"loss": ("bpr-max",)}),
            Searched("elu", Choice(0.0, 0.5, 1.0), "the authors' values", {"loss": ("bpr-max",)}),
        )
    ),
    **dict.fromkeys(
        ("metric", "metric-fast"),
        Space(
            (
                Searched(
                    "learning_rate", Real(0.001, 0.02, log=True), "how much of the items' start survives training"
                ),
                Searched("temperature", Real(0.03, 0.15, log=True), "lower: the nearest items count alone"),
                Searched("dropout", Real(0.2, 0.7), "against overfitting, which sparse logs need"),
                Searched("alpha", Real(0.0, 0.75), "negatives from uniform to popular"),
                Searched("smoothing", Real(0.0, 0.3), "probability left to negatives"),
                Searched("steps", Whole(1, 8), "how far items are averaged with their neighbours before training"),
                Searched("dim", Choice(64, 96, 128, 160, 224), "by default it follows from the log"),
            )
        ),
    ),
}
"""Search spaces by method; those of ``sml-<encoder>-<loss>`` are put together from the three below."""

METRIC_SPACE = (
    Searched("learning_rate", Real(0.0005, 0.02, log=True), "of Adam; what fits depends on the batch"),
    Searched("batch_size", Whole(32, 512, log=True), "smaller: more updates, slower"),
    Searched("dim", Choice(64, 96, 128, 192, 256), "larger: more can be told apart, slower, overfits small logs"),
    Searched(
        "extra",
        Whole(256, 4096, log=True),
        "negatives beside the batch's own; more is nearer to the full softmax, slower",
        {"negative_source": ("in-batch",)},
    ),
    Searched(
        "alpha",
        Real(0.0, 1.0),
        "negatives from uniform to popular",
        {"negative_source": ("in-batch", "popularity", "inverse-popularity")},
    ),
)

_DROPOUT = Searched("dropout", Real(0.0, 0.6), "against overfitting, which sparse logs need")
_RECURRENT = (Searched("hidden", Choice(64, 96, 128, 192, 256), "units of the recurrent layer"), _DROPOUT)

ENCODER_SPACES = MappingProxyType(
    {
        **dict.fromkeys(("rnn", "gru", "lstm"), _RECURRENT),
        "weightedpool": (Searched("decay", DECAYS, "how fast old clicks are forgotten: all that there are"),),
        "textcnn": (Searched("filters", Whole(32, 256, log=True), "filters of each size; paper: 100"), _DROPOUT),
        "tagspace": (Searched("filters", Whole(64, 1024, log=True), "paper: 1000, which is slow"), _DROPOUT),
        "caser": (
            Searched("horizontal", Whole(4, 64, log=True), "filters over neighbouring clicks"),
            Searched("vertical", Whole(1, 16, log=True), "filters over single dimensions"),
            _DROPOUT,
        ),
    }
)
"""What is searched for each session encoder; the others have no options worth a search."""

_MARGIN = Searched("margin", Real(0.05, 1.0), "how far negatives must be; paper: 0.3 of a cosine distance of 2")

LOSS_SPACES = MappingProxyType(
    {
        "ncas": (
            Searched("temperature", Real(0.03, 0.5, log=True), "lower: the nearest negatives count alone"),
            Searched("smoothing", Real(0.0, 0.6), "probability left to negatives; paper: 0.3"),
        ),
        "triplet": (_MARGIN, Searched("swap", Choice(False, True), "the harder of two negatives or not; paper: yes")),
        "contrastive": (_MARGIN,),
        "warp": (_MARGIN,),
    }
)
"""What is searched for each loss; those of pytorch-metric-learning keep their own options."""


def register_space(name: str, space: Space) -> None:
    """Make a method tunable, or search another space for it.

    Args:
        name: of the method, in lower case.
        space: what is searched; every option must be one of the method's.

    >>> register_space("sr", SPACES["sr"])
    """
    SPACES[name] = space


def space_of(method: str) -> Space:
    """The search space of a method.

    Raises:
        ConfigError: there is no such method, or it has no search space; those that have one are listed.

    >>> [each.option for each in space_of("sml-maxpool-triplet").searched if each.option in ("margin", "swap", "decay")]
    ['margin', 'swap']
    >>> space_of("pop").note
    'it has no options'
    """
    name = method if method in SPACES else canonical_name(method)
    if name in SPACES:
        return SPACES[name]
    if is_metric_name(name):
        encoder, loss = parts_of_name(name)
        return Space((*METRIC_SPACE, *ENCODER_SPACES.get(encoder, ()), *LOSS_SPACES.get(loss, ())))
    raise ConfigError(
        f"{name} has no search space; known: {', '.join(SPACES)}, sml-<encoder>-<loss>; register one with "
        "register_space"
    )
