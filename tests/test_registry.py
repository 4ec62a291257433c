"""Parts by name: built in, the user's own by decorator, by module and by entry point; and names that cannot be."""

import re
import warnings
from collections.abc import Iterator
from dataclasses import dataclass, field
from importlib.metadata import EntryPoint
from pathlib import Path
from typing import Any

import pytest
from torch import Tensor

import nearnext
from nearnext import own_parts
from nearnext.errors import ConfigError
from nearnext.model.losses import LossInput
from nearnext.registration import register
from nearnext.registry import ENCODERS, LOSSES, REGISTRIES, SAMPLERS, Kind

OWN_LOSS = """
from dataclasses import dataclass
import nearnext

@nearnext.register
@dataclass(frozen=True)
class {name}:
    needs_item_distances = False

    def __call__(self, batch):
        return (batch.positive.mean() - batch.negative.mean()).exp()
"""


@dataclass(frozen=True)
class Difference:
    """A loss, not yet registered."""

    scale: float = 1.0
    needs_item_distances = False

    def __call__(self, batch: LossInput) -> Tensor:
        return (batch.positive.mean() - batch.negative.mean()) * self.scale


@pytest.fixture(autouse=True)
def nothing_remains(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Own parts are forgotten after a test, and entry points are looked for again."""
    before = {kind: set(registry) for kind, registry in REGISTRIES.items()}
    monkeypatch.setattr(own_parts, "_found", set[str]())
    monkeypatch.setattr(own_parts, "_imported", dict[str, Any]())
    yield
    monkeypatch.setenv(own_parts.VARIABLE, "")
    for kind, registry in REGISTRIES.items():
        for name in set(registry) - before[kind]:
            registry.remove(name)


def entry_points(monkeypatch: pytest.MonkeyPatch, **values: str) -> None:
    def of_group(group: str) -> list[EntryPoint]:
        return [EntryPoint(name, value, group) for name, value in values.items()]

    monkeypatch.setattr("importlib.metadata.entry_points", of_group)


@pytest.mark.parametrize("kind", REGISTRIES)
def test_every_built_in_part_has_the_name_by_which_it_is_found(kind: Kind):
    registry = REGISTRIES[kind]
    assert {name: registry.name_of(registry.make(name)) for name in registry} == {name: name for name in registry}
    assert len(registry) == len(list(registry)) == len(set(registry))


@pytest.mark.parametrize("kind", [kind for kind in REGISTRIES if kind != "metric"])
def test_every_built_in_part_is_a_public_name(kind: Kind):
    for part in REGISTRIES[kind].values():
        assert getattr(nearnext, part.__name__) is part
        assert part.__name__ in dir(nearnext)


def test_only_public_names_are_listed():
    assert {name for name in dir(nearnext) if not name.startswith("_")} == set(nearnext.__all__)


@pytest.mark.parametrize("kind", REGISTRIES)
def test_the_kind_of_every_built_in_part_is_found(kind: Kind):
    for name, part in REGISTRIES[kind].items():
        own = dataclass(frozen=True)(type("Own", (part,), {"__module__": __name__})) if kind != "recommender" else None
        if own is not None:
            register(f"own_{name.replace('-', '_')}")(own)
            assert REGISTRIES[kind].name_of(own) == f"own_{name.replace('-', '_')}"
            REGISTRIES[kind].remove(f"own_{name.replace('-', '_')}")


def test_an_own_part_is_found_by_name_and_listed_after_the_built_in_ones():
    assert register("own")(Difference) is Difference
    assert LOSSES.make("own", scale=2.0) == Difference(2.0)
    assert list(LOSSES)[-1] == "own"
    assert LOSSES.name_of(Difference(3.0)) == "own"
    assert nearnext.make_recommender("sml-maxpool-own", {"scale": "0.5"}).params()["scale"] == 0.5
    with pytest.raises(ConfigError, match="own has no option 'size'; known: scale"):
        LOSSES.make("own", size=1)


def test_an_option_called_as_one_of_another_part_is_refused():
    @dataclass(frozen=True)
    class Longer(Difference):
        epochs: int = 3

    register("longer")(Longer)
    with pytest.raises(ConfigError, match="loss and training both have an option 'epochs'; rename that of your own"):
        nearnext.make_recommender("sml-maxpool-longer")


def test_without_a_name_a_part_is_called_as_its_class():
    register(Difference)
    assert LOSSES["difference"] is Difference


def test_a_class_that_is_defined_again_replaces_itself():
    register("own")(Difference)
    register("own")(Difference)
    assert LOSSES["own"] is Difference


def test_a_name_that_is_taken_is_refused():
    register("own")(Difference)

    @dataclass(frozen=True)
    class Other(Difference):
        pass

    with pytest.raises(ConfigError, match=r"the loss 'own' is registered twice, by .*Difference and .*Other; rename"):
        register("own")(Other)


@pytest.mark.parametrize("name", ["ncas", "sampled-softmax", "pml", "sml-own"])
def test_names_of_nearnext_are_reserved(name: str):
    with pytest.raises(ConfigError, match=r"one of nearnext's own names|cannot name a loss"):
        register(name)(Difference)
    assert LOSSES.name_of(Difference) is None


@pytest.mark.parametrize("name", ["", "Own", "own-loss", "own.loss", "own loss", "1st", "größe", "a,b", "a=b", "a\n"])
def test_names_with_odd_characters_are_refused(name: str):
    with pytest.raises(ConfigError, match="cannot name a loss: expected lower-case letters, digits and _, a letter"):
        LOSSES.add(name, Difference)
    with pytest.raises(ConfigError, match="lower-case letters"):
        SAMPLERS.add("Own", nearnext.make_recommender("sml-gru-ncas").sampler.__class__)  # pyright: ignore[reportAttributeAccessIssue]


def test_what_is_no_part_is_refused():
    class Bare:
        pass

    @dataclass(frozen=True)
    class Nothing:
        size: int = 1

    @dataclass(frozen=True)
    class Demanding(Difference):
        size: int = field(kw_only=True)

    @dataclass(eq=False)
    class Unfinished(nearnext.Recommender):
        pass

    wrong: Any
    for wrong, message in (
        (Bare, "expected a class with @dataclass beneath @nearnext.register"),
        (Difference(), "expected a class with @dataclass"),
        (Nothing, "is no part: expected build"),
        (Unfinished, "Unfinished cannot be registered: it lacks _ranker; define them"),
        (Demanding, "option 'size' of .*Demanding has no default; give it one"),
    ):
        with pytest.raises(ConfigError, match=message):
            register("own")(wrong)
    with pytest.raises(ConfigError, match="unknown kind of part 'item encoder'"):
        register("own", kind="item encoder")(Difference)  # pyright: ignore[reportArgumentType]


def test_a_part_of_a_stated_kind_goes_there():
    @dataclass(frozen=True)
    class Both(Difference):
        def build(self, input_dim: int) -> None: ...

    register("own", kind="loss")(Both)
    assert LOSSES["own"] is Both
    assert "own" not in ENCODERS


def test_a_file_named_by_the_variable_is_imported_when_a_name_is_unknown(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    file = tmp_path / "own_losses.py"
    file.write_text(OWN_LOSS.format(name="Gap"))
    monkeypatch.setenv(own_parts.VARIABLE, str(file))
    assert LOSSES.make("gap").__class__.__name__ == "Gap"
    assert own_parts.source_of(LOSSES["gap"]) == str(file)


def test_a_file_called_as_a_module_that_is_there_is_imported_all_the_same(tmp_path: Path):
    file = tmp_path / "random.py"
    file.write_text(OWN_LOSS.format(name="Gap"))
    own_parts.import_parts(str(file))
    assert "gap" in LOSSES


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (None, r"cannot import .*own.py: there is no such file; check the path"),
        ("import no_such_module", r"ModuleNotFoundError: No module named 'no_such_module' \(own.py, line 1\)"),
        ("def broken(:", r"SyntaxError: .*own.py, line 1"),
        ("\n1 / 0", r"ZeroDivisionError: division by zero \(own.py, line 2\)"),
        ("raise SystemExit('no')", r"SystemExit: no \(own.py, line 1\)"),
        (OWN_LOSS.format(name="NCAS"), r"the loss 'ncas' is one of nearnext's own names.* \(own.py, line 5|line 6\)"),
    ],
)
def test_a_file_that_cannot_be_imported_is_one_line(tmp_path: Path, text: str | None, message: str):
    if text is not None:
        (tmp_path / "own.py").write_text(text)
    with pytest.raises(ConfigError, match=message) as caught:
        own_parts.import_parts(str(tmp_path / "own.py"))
    assert "\n" not in str(caught.value)


def test_entry_points_are_loaded_when_a_name_is_unknown(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    (tmp_path / "package_with_parts.py").write_text(OWN_LOSS.format(name="Gap"))
    monkeypatch.syspath_prepend(tmp_path)
    entry_points(monkeypatch, parts="package_with_parts:Gap")
    assert "gap" in LOSSES
    assert own_parts.source_of(LOSSES["gap"]) == "package_with_parts"


def test_an_entry_point_that_cannot_be_imported_is_one_warning_and_others_work(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    (tmp_path / "package_that_fails.py").write_text("raise RuntimeError('not\\ntoday')")
    (tmp_path / "package_that_works.py").write_text(OWN_LOSS.format(name="Works"))
    monkeypatch.syspath_prepend(tmp_path)
    entry_points(monkeypatch, broken="package_that_fails", gone="no_such_package", works="package_that_works")
    with pytest.warns(RuntimeWarning) as caught:
        assert "works" in LOSSES
    said = [str(each.message) for each in caught]
    assert len(said) == 2
    assert re.search(r"'broken' of package .* cannot be used: RuntimeError: not today \(package_that_fails.py", said[0])
    assert "No module named 'no_such_package'" in said[1]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert "no_such_loss" not in LOSSES
