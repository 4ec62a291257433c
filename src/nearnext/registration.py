"""The decorator by which the user's own parts get a name, what a saved model says of them, and how laws are checked."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import MISSING, fields, is_dataclass
from typing import Any, TypeVar, cast, overload

from nearnext.errors import ConfigError, ContractError
from nearnext.options import require_known
from nearnext.own_parts import raised, source_of
from nearnext.registry import REGISTRIES, Kind, is_built_in, place_of

P = TypeVar("P")

Law = Callable[[P], str | None]
"""Gives None for a part that keeps the law, otherwise an example of how it does not."""

Laws = Mapping[str, Law[P]]
"""Laws by what they say, in the order in which they are tried."""


def require_lawful(part: P, laws: Laws[P], called: str) -> None:
    """A check that a part keeps all laws of its kind; `ConfigError` for a class instead of an object of it.

    >>> require_lawful(3, {"a number is even": lambda number: f"found {number}" if number % 2 else None}, "three")
    Traceback (most recent call last):
    nearnext.errors.ContractError: three breaks a law: a number is even; found 3
    """
    if isinstance(part, type):
        raise ConfigError(f"expected an object, found the class {part.__name__}; make one: {part.__name__}(...)")
    for law, example_of in laws.items():
        try:
            example, cause = example_of(part), None
        except Exception as error:  # whatever the part raises, the law it belongs to says more than a traceback
            example, cause = f"found {raised(error)}", error
        if example is not None:
            raise ContractError(f"{called} breaks a law: {law}; {example}") from cause


C = TypeVar("C", bound=type[Any])


@overload
def register(name: C, /) -> C: ...
@overload
def register(name: str | None = None, /, *, kind: Kind | None = None) -> Callable[[C], C]: ...
def register(name: Any = None, /, *, kind: Kind | None = None) -> Any:
    """Class decorator that registers an encoder, loss, sampler, negatives, recommender or metric by name.

    The class is a dataclass whose fields, all with defaults, are its options. Once its module is imported the name
    stands wherever a built-in one may: in `nearnext.make_recommender`, ``sml-<encoder>-<loss>``, ``metric.encoder``,
    files of options, `nearnext.compare`, `nearnext.tune`, and in saved models.

    Args:
        name: lower-case letters, digits and _, of a metric capitals too; by default the class's ``name``, or its own
            name in lower case.
        kind: ``encoder``, ``loss``, ``sampler``, ``negatives``, ``recommender`` or ``metric``; by default it follows
            from the base class, or from ``build`` (an encoder) or ``__call__`` (a loss).

    Raises:
        ConfigError: no such dataclass, or a name that is taken, reserved or of another form.

    >>> from dataclasses import dataclass
    >>> import nearnext
    >>> @nearnext.register("newest")
    ... @dataclass(frozen=True)
    ... class Newest(nearnext.LastItem):
    ...     pass
    >>> nearnext.make_recommender("sml-newest-ncas").name
    'sml-newest-ncas'
    >>> REGISTRIES["encoder"].remove("newest")
    """
    if isinstance(name, type):
        return _registered(cast("type[Any]", name), None, None)

    def decorate(part: C) -> C:
        return _registered(part, name, kind)

    return decorate


def _registered(part: C, name: str | None, kind: Kind | None) -> C:
    is_class = isinstance(part, type)  # pyright: ignore[reportUnnecessaryIsInstance] - callers may not check types
    if not is_class or not is_dataclass(part):
        shown = place_of(part) if is_class else repr(part)
        raise ConfigError(f"{shown} cannot be registered: expected a class with @dataclass beneath @nearnext.register")
    if lacking := sorted(getattr(part, "__abstractmethods__", ())):
        raise ConfigError(f"{place_of(part)} cannot be registered: it lacks {', '.join(lacking)}; define them")
    if kind is not None:
        require_known("kind of part", kind, REGISTRIES)
    kind = kind or kind_of(part)
    own = getattr(part, "name", None)
    name = name or (own if isinstance(own, str) else part.__name__.lower())
    if missing := [
        option.name
        for option in fields(part)
        if option.init and option.default is MISSING and option.default_factory is MISSING
    ]:
        raise ConfigError(f"option '{missing[0]}' of {place_of(part)} has no default; give it one")
    REGISTRIES[kind].add(name, part)
    if kind == "recommender":
        part.name = name
    return part


def kind_of(part: type[Any]) -> Kind:
    """The kind of a class, by its base class or its methods."""
    bases = {place_of(base) for base in part.__mro__}
    for kind, registry in REGISTRIES.items():
        if registry.base in bases:
            return kind
    if callable(getattr(part, "build", None)):
        return "encoder"
    if any("__call__" in vars(base) for base in part.__mro__):
        return "loss"
    raise ConfigError(
        f"{place_of(part)} is no part: expected build(input_dim) of an encoder, __call__(batch) of a loss, or a "
        "subclass of Sampler, Negatives, Recommender or CaseMetric"
    )


def origins(parts: Iterable[object]) -> list[dict[str, str]]:
    """Kind, name and source of each part that is not built in, for an artifact to say what to import.

    Raises:
        ConfigError: one is not registered, so that a model made of it could not be loaded.
    """
    found = list[dict[str, str]]()
    for part in (part for part in parts if not is_built_in(part)):
        named = [(kind, name) for kind, registry in REGISTRIES.items() if (name := registry.name_of(part)) is not None]
        if not named:
            raise ConfigError(
                f"{place_of(type(part))} is not registered, so that a saved model could not be loaded; write "
                "@nearnext.register above its class"
            )
        found += [{"kind": kind, "name": name, "from": source_of(type(part))} for kind, name in named]
    return found
