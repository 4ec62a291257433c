"""What is compared, and how: methods with their options, protocol, seeds and tuning."""

from collections.abc import Mapping, Sequence
from dataclasses import field
from typing import Any

from nearnext.errors import ConfigError
from nearnext.evaluation.metrics import DEFAULT_CUTOFFS, cutoffs, further_names
from nearnext.experiments.plan import SplitPlan
from nearnext.experiments.result import seed_numbers, seeds_of
from nearnext.experiments.tuning.budget import Tuning
from nearnext.experiments.tuning.search import Space
from nearnext.options import Count, Natural, options, require_type
from nearnext.recommenders.base import Recommender
from nearnext.recommenders.named import BASELINES, canonical_name, make_recommender


@options
class Comparison:
    """What is compared, and how.

    Attributes:
        methods: names of methods, labels, or recommenders made in Python, in the order of the report.
        options: options of a method that differ from its defaults, by method name or label.
        labels: the method that a label stands for: one method can be compared with itself under other options.
        plan: how the log is split, filtered, and what happens to unknown items.
        ks: list lengths.
        seed: of the bootstrap and of the audit's choice of cases.
        replicates: resamplings of the bootstrap.
        threads: worker threads, by default one per core.
        tuning: the budget with which every method is tuned first, on the end of the training part; of several windows
            on that of the first one. None: methods run with the options given.
        held: names of options, by method name or label, that tuning leaves as they are.
        seeds: stochastic methods are fitted once per seed, and their metrics are means with a standard deviation;
            empty: once, with their own seed.
        metrics: metrics besides the default ones by name, such as NDCG, or as objects; see
            `nearnext.evaluation.case_metric`.
        made: the recommender objects among ``methods`` by label: the name, numbered if it is taken.

    Raises:
        ConfigError: unknown or repeated method, options of a method that is not compared, a list length below 1,
            an unknown metric, tuning of a method without a search space, or a seed given twice.

    >>> Comparison(methods=("POP", "vsknn"), options={"vsknn": {"k": 500}}).methods
    ('pop', 'vsknn')
    >>> wide = Comparison(("vsknn", "wide"), labels={"wide": "vsknn"}, options={"wide": {"k": 500}})
    >>> wide.make("wide").params()["k"]
    500
    """

    methods: Sequence[str | Recommender] = BASELINES
    options: Mapping[str, Mapping[str, Any]] = field(default_factory=dict[str, Mapping[str, Any]])
    labels: Mapping[str, str] = field(default_factory=dict[str, str])
    plan: SplitPlan = field(default_factory=SplitPlan)
    ks: tuple[int, ...] = DEFAULT_CUTOFFS
    seed: Natural = 7
    replicates: Count = 2000
    threads: Count | None = None
    tuning: Tuning | None = None
    held: Mapping[str, Sequence[str]] = field(default_factory=dict[str, Sequence[str]])
    seeds: tuple[int, ...] = ()
    metrics: Sequence[Any] = ()
    made: Mapping[str, Recommender] = field(default_factory=dict[str, Recommender])

    def __post_init__(self) -> None:
        object.__setattr__(self, "labels", {label: canonical_name(method) for label, method in self.labels.items()})
        names, made = self._named()
        object.__setattr__(self, "made", made)
        if len(set(names)) != len(names) or not names:
            raise ConfigError(f"expected each method once, found {', '.join(names) or 'none'}")
        options = {self._name(name): dict(values) for name, values in self.options.items()}
        if extra := sorted(set(options) - set(names)):
            raise ConfigError(f"options are given for {', '.join(extra)}, which is not among the compared methods")
        seeds = seed_numbers(self.seeds)
        settled = {"methods": names, "options": options, "ks": cutoffs(self.ks), "seeds": seeds}
        for field_name, value in {**settled, "metrics": further_names(self.metrics)}.items():
            object.__setattr__(self, field_name, value)
        if seeds and not any(self.seeds_of(name) == seeds for name in names):
            raise ConfigError(f"seeds are given, and {', '.join(names)} draw nothing at random; leave the seeds out")
        for name in names:
            self.make(name, self.seeds_of(name)[0])
            if self.tuning is not None:
                self.space(name)

    @property
    def names(self) -> tuple[str, ...]:
        """The names and labels of the methods."""
        return tuple(name for name in self.methods if isinstance(name, str))

    def make(self, name: str, seed: int | None = None) -> Recommender:
        """A fresh recommender of that name or label, with this comparison's options, and with a seed where given."""
        options = {**self.options.get(name, {}), **({} if seed is None else {"seed": seed})}
        if name in self.made:
            return self.made[name].unfitted(**options)
        return make_recommender(self.labels.get(name, name), options)

    def seeds_of(self, name: str) -> tuple[int | None, ...]:
        """The seeds that the method of that name or label is fitted with; None stands for its own."""
        return seeds_of(self.make(name), self.options.get(name, {}), self.seeds)

    def space(self, name: str) -> Space:
        """What tuning tries for that name or label, from this comparison's options on."""
        if name in self.made:
            raise ConfigError(f"{name} is a recommender object, which cannot be tuned; give its name and options")
        return Space.of(self.labels.get(name, name), self.options.get(name), self.held.get(name, ()))

    def protocol(self, own_test: bool, n_cases: int) -> dict[str, Any]:
        """How methods are measured, for a result; ``own_test``: on a log of its own, not on a part of the log."""
        return {
            "split": self.plan.describe(own_test),
            "cases": n_cases,
            "case": "every proper prefix of every test session; all items are ranked, none sampled",
            "k": list(self.ks),
            "intervals": f"95%, {self.replicates} bootstrap resamplings of the test sessions",
            "seed": self.seed,
        }

    def _name(self, name: str) -> str:
        return name if name in self.labels or name in self.made else canonical_name(name)

    def _named(self) -> tuple[tuple[str, ...], dict[str, Recommender]]:
        """The names of all methods, and the recommenders made in Python by their new names."""
        if isinstance(self.methods, str):
            raise ConfigError(f"methods must be several names or recommenders, found {self.methods!r}; write it in [ ]")
        require_type("methods", self.methods, Sequence, "give for example ['pop', 'vsknn']")
        names, made = list[str](), dict(self.made)
        taken = {self._name(method) for method in self.methods if isinstance(method, str)}
        for method in self.methods:
            if isinstance(method, type):
                raise ConfigError(
                    f"expected recommenders, found the class {method.__name__}; make one: {method.__name__}()"
                )
            if not isinstance(method, Recommender):
                names.append(self._name(method))
                continue
            number, label = 1, method.name
            while label in taken:
                number, label = number + 1, f"{method.name}-{number + 1}"
            taken.add(label)
            names.append(label)
            made[label] = method
        return tuple(names), made
