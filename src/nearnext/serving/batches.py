"""Questions that arrive together are answered together: one pass through the model for all of them."""

import asyncio
from collections.abc import Sequence

from nearnext.recommenders.ranking import Recommendation
from nearnext.serving.model import ServedModel
from nearnext.serving.predictor import Query

BATCH = 64
"""Questions answered in one pass; what is left waits for the next, after the network had its turn."""


class Batches:
    """Gathers the queries of one turn of the event loop.

    None waits: a single query is answered in the same turn. While a batch is answered, the next
    requests gather in the sockets, so that batches grow with the load.

    >>> import tempfile
    >>> from pathlib import Path
    >>> from nearnext.data.sessions import Sessions
    >>> from nearnext.recommenders.named import make_recommender
    >>> from nearnext.serving.catalogue import Catalogue
    >>> from nearnext.serving.model import LoadedModel
    >>> fitted = make_recommender("markov-1").fit(Sessions.of([["a", "b"]] * 3 + [["a", "c"]]))
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     served = ServedModel(LoadedModel(fitted, {}, "v1"), Catalogue(Path(folder, "changes")))
    >>> async def ask_twice():
    ...     batches = Batches()
    ...     return await asyncio.gather(*(batches.ask(served, Query([one], 1)) for one in "ab"))
    >>> [answer.items for answer in asyncio.run(ask_twice())]
    [['b'], ['a']]
    """

    def __init__(self) -> None:
        self._waiting: list[tuple[ServedModel, Query, asyncio.Future[Recommendation]]] = []

    def ask(self, model: ServedModel, query: Query) -> asyncio.Future[Recommendation]:
        """The answer of one model to one query."""
        loop = asyncio.get_running_loop()
        answer: asyncio.Future[Recommendation] = loop.create_future()
        self._waiting.append((model, query, answer))
        if len(self._waiting) == 1:
            loop.call_soon(self._answer, loop)
        return answer

    def _answer(self, loop: asyncio.AbstractEventLoop) -> None:
        taken, self._waiting = self._waiting[:BATCH], self._waiting[BATCH:]
        if self._waiting:
            loop.call_soon(self._answer, loop)
        for model in dict.fromkeys(model for model, _, _ in taken):
            asked = [(query, answer) for of, query, answer in taken if of is model]
            try:
                found: Sequence[Recommendation] = model.answer([query for query, _ in asked])
            except Exception as error:
                for _, answer in asked:
                    if not answer.done():
                        answer.set_exception(error)
                continue
            for (_, answer), one in zip(asked, found, strict=True):
                if not answer.done():
                    answer.set_result(one)
