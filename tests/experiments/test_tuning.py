"""Tuning: the first trial, budgets, what becomes of trials, and that nothing of the test part is looked at."""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar

import pytest

from nearnext.data.sessions import Sessions
from nearnext.errors import ConfigError, DataError
from nearnext.experiments.compare import Comparison, compare
from nearnext.experiments.plan import SplitPlan
from nearnext.experiments.tuning.budget import Trial, Tuning
from nearnext.experiments.tuning.tune import TuningInterrupted, tune
from nearnext.options import Search
from nearnext.recommenders.popularity import Pop
from nearnext.recommenders.trained import TrainedRecommender
from nearnext.registry import RECOMMENDERS
from training_support import seed

pytestmark = pytest.mark.slow

LOG = Sessions.of([[f"i{(s * 3 + j * j) % 17}" for j in range(2 + s % 4)] for s in range(150)])
QUICK: dict[str, Any] = {"metric": "MRR@5", "trials": 6}


@dataclass(eq=False)
class Stub(TrainedRecommender, Pop):
    """A method that reports epochs, fails, is interrupted, or leaves its lists to popularity, as it is told."""

    name: ClassVar[str] = "stub"

    x: Annotated[int, Search(0, 9, why="any")] = 0
    seen: ClassVar[list[int]] = []
    epochs: ClassVar[Mapping[int, list[float]]] = {}
    failing: ClassVar[Mapping[int, BaseException]] = {}

    def _learn(self, sessions: Sessions) -> None:
        super()._learn(sessions)
        self.seen.append(self.x)
        if self.x in self.failing:
            raise self.failing[self.x]
        for figure in self.epochs.get(self.x, []):
            assert self.watch is not None
            self.watch({"epoch": 1, "HitRate@20": figure, "MRR@20": figure})


@pytest.fixture
def stub(monkeypatch: pytest.MonkeyPatch) -> Iterator[type[Stub]]:
    RECOMMENDERS.add("stub", Stub)
    for name, empty in (("seen", []), ("epochs", {}), ("failing", {})):
        monkeypatch.setattr(Stub, name, empty)
    yield Stub
    RECOMMENDERS.remove("stub")


def test_the_first_trial_is_the_default_and_the_best_is_at_least_as_good():
    result = tune(LOG, "vsknn", Tuning(**QUICK))
    first = result["trials"][0]
    assert first["options"] == {
        "k": 1000,
        "sample_size": 5000,
        "similarity": "vec",
        "weighting": "log",
        "weighting_score": "quadratic",
        "idf_weighting": 2.0,
    }
    assert result["best_figure"] == max(trial["figure"] for trial in result["trials"]) >= first["figure"]
    assert len({str(trial["options"]) for trial in result["trials"]}) == 6


def test_the_search_begins_with_the_options_given_and_holds_those_that_it_is_asked_to():
    result = tune(LOG, "vsknn", Tuning(**QUICK), options={"k": "50", "remind": False}, held=["k"])
    assert all("k" not in trial["options"] for trial in result["trials"])
    assert (result["options"]["k"], result["options"]["remind"]) == (50, False)
    begun = tune(LOG, "vsknn", Tuning(trials=1), options={"k": 77})
    assert begun["trials"][0]["options"]["k"] == 77


def test_figures_are_those_of_an_evaluation_on_the_end_of_the_log():
    result = compare(LOG, comparison=Comparison(methods=["sr"], ks=(5,), plan=SplitPlan(amount=0.1), replicates=10))
    tuned = tune(LOG, "sr", Tuning(trials=1, metric="MRR@5", fraction=0.1))
    assert tuned["start_figure"] == result["methods"][0]["metrics"]["MRR@5"]["value"]
    assert tuned["data"]["train"]["last"] <= tuned["data"]["validation"]["last"]


@pytest.mark.parametrize("method", ["pop", "spop", "markov-1", "ar"])
def test_methods_without_anything_to_tune_are_measured_once(method: str):
    result = tune(LOG, method, Tuning(**QUICK))
    assert len(result["trials"]) == 1
    assert result["note"].startswith("nothing to tune: ")


def test_holding_everything_leaves_nothing_to_tune():
    result = tune(LOG, "sr", Tuning(**QUICK), options={"steps": 3, "weighting": "div"}, held=["steps", "weighting"])
    assert result["note"] == "nothing to tune: all of its options that are searched are held as they are"
    assert result["options"] == {"steps": 3, "weighting": "div"}


def test_a_small_space_is_searched_through_once(stub: type[Stub]):
    @dataclass(eq=False)
    class Small(Stub):
        x: Annotated[int, Search(choices=(0, 1, 2), why="any")] = 0

    RECOMMENDERS.remove("stub")
    RECOMMENDERS.add("stub", Small)
    result = tune(LOG, "stub", Tuning(trials=20, metric="MRR@5"))
    assert sorted(stub.seen) == [0, 1, 2]
    assert result["note"] == "every option set of the space was tried"


def test_equal_figures_keep_the_options_that_the_search_began_with(stub: type[Stub]):
    result = tune(LOG, "stub", Tuning(trials=5, metric="MRR@5"), options={"x": 4})
    assert (result["best_trial"], result["options"]) == (0, {"x": 4})
    assert stub.seen[0] == 4


@pytest.mark.usefixtures("stub")
def test_a_start_outside_the_ranges_is_tried_all_the_same():
    result = tune(LOG, "stub", Tuning(trials=12, metric="MRR@5"), options={"x": 500})
    assert result["trials"][0]["options"] == {"x": 500}
    assert all(0 <= trial["options"]["x"] <= 9 for trial in result["trials"][1:])


def test_failed_trials_are_kept_with_their_reason_and_stop_nothing(stub: type[Stub], monkeypatch: pytest.MonkeyPatch):
    failing = {x: ConfigError(f"{x} is\nodd") for x in (1, 3, 5, 7, 9)}
    monkeypatch.setattr(Stub, "failing", {**failing, 8: MemoryError(), 6: ZeroDivisionError("by zero")})
    result = tune(LOG, "stub", Tuning(trials=10, metric="MRR@5"))
    assert sorted(stub.seen) == list(range(10))
    numeric = "these options do not compute: by zero"
    reasons = {trial["options"]["x"]: trial["reason"] for trial in result["trials"] if trial["state"] == "failed"}
    assert reasons == {**{x: f"{x} is odd" for x in failing}, 8: "not enough memory", 6: numeric}
    assert (result["used"]["complete"], result["used"]["failed"]) == (3, 7)


@pytest.mark.usefixtures("stub")
def test_a_search_without_a_complete_trial_says_why(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(Stub, "failing", {x: ConfigError("no luck") for x in range(10)})
    with pytest.raises(ConfigError, match="none of 3 trials of stub came to its end; the first: no luck"):
        tune(LOG, "stub", Tuning(trials=3))


@pytest.mark.usefixtures("stub")
def test_errors_in_the_program_are_not_taken_for_failed_trials(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(Stub, "failing", {0: RuntimeError("index out of range")})
    with pytest.raises(RuntimeError, match="index out of range"):
        tune(LOG, "stub", Tuning(trials=3))


@pytest.mark.usefixtures("stub")
def test_a_trial_whose_epochs_stay_below_the_median_is_given_up(monkeypatch: pytest.MonkeyPatch):
    # Epochs are looked at from the second on, once two trials are complete; the third to ninth of these are worse.
    order = tune(LOG, "stub", Tuning(trials=9, metric="MRR@5"))["trials"]
    xs = [trial["options"]["x"] for trial in order]
    figures = {x: [0.5, 0.6, 0.7] for x in xs[:2]} | {x: [0.4, 0.5, 0.9] for x in xs[2:]}
    monkeypatch.setattr(Stub, "epochs", figures)
    result = tune(LOG, "stub", Tuning(trials=9, metric="MRR@5"))
    states = [trial["state"] for trial in result["trials"]]
    assert states[:3] == ["complete", "complete", "pruned"]
    pruned = result["trials"][2]
    assert pruned["epochs"] == (0.4, 0.5)
    assert pruned["figure"] is None
    assert pruned["reason"] == "after epoch 2 below the median of the trials before"
    assert result["best_trial"] < 2


@pytest.mark.usefixtures("stub")
def test_one_good_epoch_is_enough_to_go_on(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(Stub, "epochs", {x: [0.6, 0.5, 0.5] for x in range(10)})
    result = tune(LOG, "stub", Tuning(trials=8, metric="MRR@5"))
    assert {trial["state"] for trial in result["trials"]} == {"complete"}


def test_trials_that_spend_the_budget_are_given_up_between_epochs_but_for_the_first(monkeypatch: pytest.MonkeyPatch):
    def overspent(self: Tuning, trials: Sequence[Trial], running: int) -> float:  # noqa: ARG001
        return -1.0 if trials or running else math.inf

    monkeypatch.setattr(Tuning, "left", overspent)
    options = {"epochs": 3, "layers": [4], "n_sample": 8, "seed": seed()}
    result = tune(LOG, "gru4rec", Tuning(trials=3, metric="MRR@5"), options=options, held=["epochs", "layers"])
    assert [trial["state"] for trial in result["trials"]] == ["complete", "pruned", "pruned"]
    assert result["trials"][1]["reason"] == "after epoch 1 the budget was spent"
    once = tune(LOG, "gru4rec", Tuning(trials=2, metric="MRR@5"), options={**options, "epochs": 1}, held=["epochs"])
    assert [trial["state"] for trial in once["trials"]] == ["complete", "complete"]


def test_metric_models_report_their_epochs():
    options = {
        "dim": 4,
        "hidden": 4,
        "epochs": 3,
        "batch_size": 32,
        "device": "cpu",
        "validation_fraction": 0.1,
        "extra": 8,
        "lowerings": 9,
        "seed": seed(),
    }
    result = tune(LOG, "sml-gru-ncas", Tuning(trials=2, metric="HitRate+MRR@20"), options=options)
    assert [len(trial["epochs"]) for trial in result["trials"]] == [3, 3]
    assert result["options"]["epochs"] == 3


def test_sizes_that_follow_from_the_log_are_left_to_do_so():
    options = {"epochs": 1, "voters": ["sr"], "validation_fraction": 0.0, "seed": seed()}
    result = tune(LOG, "metric-fast", Tuning(trials=2, metric="MRR@5"), options={"dim": None, **options})
    first, second = (trial["options"] for trial in result["trials"])
    assert "dim" not in first
    assert second["dim"] in (64, 96, 128, 160, 224)


@dataclass(eq=False)
class Plain(Pop):
    """A method of which no option says what tuning may try."""

    name: ClassVar[str] = "plain"

    x: int = 0


def test_an_own_method_without_search_ranges_is_measured_once():
    RECOMMENDERS.add("plain", Plain)
    try:
        result = tune(LOG, "plain", Tuning(**QUICK), options={"x": "3"})
    finally:
        RECOMMENDERS.remove("plain")
    assert result["note"] == "nothing to tune: none of its options has a search range"
    assert (len(result["trials"]), result["options"]) == (1, {"x": 3})


@pytest.mark.parametrize("clicks", [[["a", "b"]], [["a", "b"], ["a"]], [["a"], ["a", "b"]]])
def test_logs_too_short_to_hold_something_out_are_refused(clicks: list[list[str]]):
    with pytest.raises(DataError, match="too short to hold out a validation period"):
        tune(Sessions.of(clicks), "vsknn")


@pytest.mark.usefixtures("stub")
def test_interruption_says_what_was_found(monkeypatch: pytest.MonkeyPatch):
    xs = [trial["options"]["x"] for trial in tune(LOG, "stub", Tuning(trials=3, metric="MRR@5"))["trials"]]
    monkeypatch.setattr(Stub, "failing", {xs[2]: KeyboardInterrupt()})
    with pytest.raises(
        TuningInterrupted, match=r"stopped tuning stub after 2 of 3 trials, best MRR@5 0\.\d{4}; nothing"
    ):
        tune(LOG, "stub", Tuning(trials=3, metric="MRR@5"))


TUNED = Comparison(
    methods=["pop", "sr"], ks=(5,), replicates=50, tuning=Tuning(trials=4, metric="MRR@5"), options={"sr": {"steps": 1}}
)


def test_a_tuned_comparison_measures_the_chosen_options_once_on_the_test_part():
    result = compare(LOG, comparison=TUNED)
    pop, sr = result["methods"]
    assert (pop["tuning"]["used"]["trials"], sr["tuning"]["used"]["trials"]) == (1, 4)
    assert pop["tuning"]["budget"] == sr["tuning"]["budget"] == {"trials": 4, "minutes": 30.0}
    assert sr["params"] == {"pruning": 0, **sr["tuning"]["options"]}
    plain = compare(
        LOG, comparison=Comparison(methods=["sr"], ks=(5,), replicates=50, options={"sr": sr["tuning"]["options"]})
    )
    assert plain["methods"][0]["metrics"] == sr["metrics"]
    assert result["protocol"]["tuning"].startswith(
        "every method gets at most 4 trials and 30 minutes to maximise MRR@5"
    )
    assert result["audit"]["passed"]


def test_the_test_part_never_reaches_tuning():
    other_end = [["i1", "i2", "i3"]] * 15
    raw = [LOG.raw(session) for session in range(135)]
    first, second = (
        compare(Sessions.of([*raw, *end]), comparison=TUNED)["methods"][1]["tuning"]
        for end in ([LOG.raw(session) for session in range(135, 150)], other_end)
    )
    for each in (first, second):
        for trial in (each["used"], *each["trials"]):
            del trial["seconds"]
    assert first == second


def test_a_test_log_of_its_own_leaves_tuning_with_the_whole_training_log():
    train, test = LOG.select(LOG.starts < LOG.starts[135]), LOG.select(LOG.starts >= LOG.starts[135])
    with_test = compare(train, test, TUNED)["methods"][1]["tuning"]
    alone = tune(train, "sr", TUNED.tuning, options={"steps": 1})
    assert with_test["options"] == alone["options"]
    assert with_test["best_figure"] == alone["best_figure"]


def test_windows_are_tuned_on_the_first_one():
    plan = SplitPlan.parse("windows:2")
    comparison = Comparison(
        methods=["sr"],
        ks=(5,),
        plan=plan,
        replicates=20,
        tuning=Tuning(trials=2, metric="MRR@5"),
        held={"sr": ["steps"]},
    )
    result = compare(LOG, comparison=comparison)
    assert "of the first window" in result["protocol"]["tuning"]
    assert [each["option"] for each in result["methods"][0]["tuning"]["space"]] == ["weighting"]
