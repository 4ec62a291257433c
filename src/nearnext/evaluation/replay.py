"""The proof that a service recommends what was evaluated: held-out sessions played through it, click by click."""

import secrets
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from nearnext.data.leaks import Leaks, find_leaks, warn_of
from nearnext.data.sessions import MICROSECONDS, Sessions
from nearnext.errors import DataError
from nearnext.evaluation.cases import Cases
from nearnext.evaluation.client import Answers, Click, Load, Target, send_clicks
from nearnext.evaluation.metrics import cutoffs
from nearnext.evaluation.sums import MetricAccumulator, MetricSums
from nearnext.progress import track
from nearnext.recommenders.agreement import differing_lists
from nearnext.recommenders.base import Recommender
from nearnext.recommenders.ranking import Ranking
from nearnext.topk import no_lists
from nearnext.types import Int64Array

BLOCK = 8192
"""Lists that are ranked and counted at a time."""


@dataclass(frozen=True)
class Latency:
    """How long answers took, in milliseconds."""

    p50: float
    p90: float
    p99: float
    max: float

    @classmethod
    def of(cls, seconds: "np.ndarray[Any, np.dtype[np.float64]]") -> "Latency":
        """Percentiles of latencies in seconds; NaN, where there was no answer, does not count."""
        answered = seconds[~np.isnan(seconds)]
        if len(answered) == 0:
            return cls(np.nan, np.nan, np.nan, np.nan)
        return cls(*(float(value) * 1000 for value in np.percentile(answered, [50, 90, 99, 100])))


@dataclass(frozen=True, eq=False)
class Replay:
    """What a service recommended to held-out sessions, compared with what its model was evaluated to recommend.

    Metrics of the artifact's own lists, and of those served, where a request that failed counts as an empty list; lists
    that differ by more than rounding; failed requests by kind; lists by version of the model that gave them; requests;
    latency from when each was due, and from when it was sent; seconds of the replay, and processor time of the client.
    """

    offline: MetricSums
    served: MetricSums
    differing: int
    errors: Counter[str]
    models: Counter[str]
    clicks: int
    latency: Latency
    service_latency: Latency
    seconds: float
    client_seconds: float
    leaks: Leaks

    @property
    def equal(self) -> bool:
        """Whether the service recommended, list by list, what was evaluated, up to rounding."""
        return not self.differing and not self.errors

    def as_dict(self) -> dict[str, Any]:
        """The same as plain lists and dictionaries, ready for JSON."""
        return {
            "warnings": self.leaks.lines(),
            "leaks": self.leaks.facts(),
            "equal": self.equal,
            "lists": self.offline.n_cases,
            "differing": self.differing,
            "offline": self.offline.values(),
            "served": self.served.values(),
            "clicks": self.clicks,
            "errors": dict(self.errors),
            "models": dict(self.models),
            "latency_ms": vars(self.latency),
            "service_latency_ms": vars(self.service_latency),
            "seconds": self.seconds,
            "clicks_per_second": self.clicks / max(self.seconds, 1e-9),
            "client_seconds": self.client_seconds,
        }


def replay(
    recommender: Recommender,
    sessions: Sessions,
    target: Target,
    load: Load,
    *,
    ks: Sequence[int] = (20,),
    exclude_seen: bool = False,
) -> Replay:
    """Play sessions through a service in the order of their clicks' times, and compare its lists with the model's own.

    Every click is one request that stores it and asks for recommendations; each is a case as in `evaluate`, except for
    the last of a session. The service sees session ids that were never used before, and the times of the log.
    """
    leaks = find_leaks(recommender.imprint, sessions)
    warn_of(leaks)
    sessions = sessions.select(sessions.lengths > 1)
    if sessions.n_sessions == 0:
        raise DataError("no session of 2 or more clicks to replay; choose a later log of the same shop")
    rising = cutoffs(ks)
    cases = Cases.of(sessions.with_vocabulary(recommender.vocabulary))
    # As they are after their way through seconds in JSON and back.
    as_sent = ((cases.prefixes.times / MICROSECONDS) * MICROSECONDS).astype(np.int64)
    cases = replace(cases, prefixes=replace(cases.prefixes, times=as_sent))
    with track(f"{recommender.name}: ranking", len(cases), "cases") as advance:
        offline = recommender.rank(cases.prefixes, rising[-1], exclude_seen=exclude_seen, advance=advance)
    order = np.argsort(sessions.times, kind="stable")
    question = {"k": rising[-1], "exclude_seen": exclude_seen, "consent": True}
    with track("replaying", len(order), "clicks") as advance:
        answers = send_clicks(_clicks(sessions, order), target, load, question, advance)
    events = np.empty(len(order), dtype=np.int64)
    events[order] = np.arange(len(order))
    asked = events[cases.prefixes.ends - 1]
    served, models = _served(recommender, answers, asked, rising[-1])
    return Replay(
        offline=_counted(offline, cases, recommender, rising),
        served=_counted(served, cases, recommender, rising),
        differing=int(np.count_nonzero(differing_lists(offline, served))),
        errors=answers.errors,
        models=models,
        clicks=len(order),
        latency=Latency.of(answers.latencies),
        service_latency=Latency.of(answers.latencies - answers.waits),
        seconds=answers.seconds,
        client_seconds=answers.client_seconds,
        leaks=leaks,
    )


def _clicks(sessions: Sessions, order: Int64Array) -> list[Click]:
    run = f"replay-{secrets.token_hex(8)}"
    raw = [None, *sessions.vocabulary.ids.to_list()]
    owner, seconds = sessions.session_of_event()[order].tolist(), (sessions.times[order] / MICROSECONDS).tolist()
    items = [raw[item] for item in sessions.items[order].tolist()]
    return [Click(f"{run}-{one}", item, when) for one, item, when in zip(owner, items, seconds, strict=True)]


def _served(recommender: Recommender, answers: Answers, asked: Int64Array, k: int) -> tuple[Ranking, Counter[str]]:
    """The service's lists in the model's vocabulary, in the order of the cases, and which models gave them."""
    items, scores, own = no_lists(len(asked), k)
    models: Counter[str] = Counter()
    for case, event in enumerate(asked.tolist()):
        answer = answers.bodies[event]
        if answer is None:
            continue
        listed = _recommendations(answer)
        if not answer["stored"]:
            answers.errors[f"not stored: {answer['reason']}"] += 1
        found = recommender.vocabulary.encode(listed["items"])
        known = np.flatnonzero(found)  # an item that joined the catalogue since is none of the model's
        items[case, : len(known)] = found[known]
        scores[case, : len(known)] = np.array(listed["scores"], dtype=np.float32)[known]
        own[case] = np.count_nonzero(known < listed["own"])
        models[listed["model"]] += 1
    return Ranking(items, scores, own), models


def _recommendations(answer: Any) -> Mapping[str, Any]:
    try:
        found: Mapping[str, Any] = answer["recommendations"]
        if {"items", "scores", "own", "model"} <= found.keys() and {"stored", "reason"} <= answer.keys():
            return found
    except (KeyError, TypeError, AttributeError):
        pass
    raise DataError("an answer holds no recommendations; name the URL of a nearnext service of this version")


def _counted(ranking: Ranking, cases: Cases, recommender: Recommender, ks: Sequence[int]) -> MetricSums:
    accumulator = MetricAccumulator(cases, recommender.popularity, ks)
    for begin in range(0, len(ranking), BLOCK):
        accumulator.add(ranking.take(slice(begin, begin + BLOCK)))
    return accumulator.sums()
