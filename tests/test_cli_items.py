"""Item tables on the command line: titles are shown, and items that the log lacks are recommended."""

import json
from pathlib import Path

import polars as pl
import pytest

from conftest import Command

QUICK = [
    f"--set={text}"
    for text in ("dim=8", "epochs=1", "negatives=16", "hidden=4", "reranker_steps=5", "reranker_prefixes=100")
]


@pytest.fixture
def shop(tmp_path: Path, nearnext: Command) -> tuple[Path, Path]:
    log, items = tmp_path / "shop.parquet", tmp_path / "items.csv"
    done = nearnext("synth", log, "--item-table", items, "--sessions", 300, "--items", 120)
    assert done.code == 0
    assert f"120 items with title, categories and price: {items}".replace(" ", "") in "".join(done.out.split())
    return log, items


@pytest.mark.slow
def test_titles_are_shown_and_unclicked_items_recommended(
    shop: tuple[Path, Path], tmp_path: Path, nearnext: Command
) -> None:
    log, items = shop
    with items.open("a") as file:
        file.write('new-1,"Something new",tent,\n,no id,tent,3\n')
    model = tmp_path / "model"
    done = nearnext("fit", log, "--method", "metric-fast", *QUICK, "--items", items, "--out", model)
    assert done.code == 0
    assert "121 items with title, categories, price; rejected: missing item id 1" in done.out
    known = json.loads((model / "manifest.json").read_text())
    assert known["items"] == 121
    assert "items.parquet" in known["sha256"]
    listed = nearnext("recommend", model, "--session", "new-1", "--k", 5, "--allow", "new-1,sku-00003", "--json", "-")
    (answer,) = json.loads(listed.out)
    assert sorted(answer["items"]) == ["new-1", "sku-00003"]
    assert dict(zip(answer["items"], answer["titles"], strict=True))["new-1"] == "Something new"
    assert "Something new" in nearnext("recommend", model, "--session", "sku-00003", "--allow", "new-1").out
    assert "title" in nearnext("similar", model, "new-1", "--k", 2).out
    assert "new-1 (Something new)" in nearnext("explain", model, "--session", "sku-00003", "--item", "new-1").out
    kept = f"item table: that of {model}; --items FILE replaces it"
    for given in ((), ("--items", items)):
        done = nearnext("fit", log, "--from", model, *given, "--out", tmp_path / "next")
        assert done.code == 0, done.err
        assert (kept in done.out) == (not given)
        assert (tmp_path / "next" / "items.parquet").read_bytes() == (model / "items.parquet").read_bytes()


def test_long_titles_and_control_characters_are_shown_in_one_line(tmp_path: Path, nearnext: Command) -> None:
    log = tmp_path / "log.csv"
    log.write_text("session_id,item_id,timestamp\n" + "".join(f"s{n // 3},i{n % 4},{n + 10**9}\n" for n in range(300)))
    titles = ["long " * 2_000, "red\x1b[31m\x07\n<b>", "[bold]plain", "Tent"]
    pl.DataFrame({"id": [f"i{n}" for n in range(4)], "title": titles}).write_parquet(tmp_path / "items.parquet")
    fitted = nearnext("fit", log, "--method", "sr", "--items", tmp_path / "items.parquet", "--out", tmp_path / "model")
    assert fitted.code == 0, fitted.err
    report = tmp_path / "report.html"
    compared = ("compare", log, "--methods", "pop", "--items", tmp_path / "items.parquet", "--report", report)
    assert nearnext(*compared).code == 0
    listed = nearnext("recommend", tmp_path / "model", "--session", "i3").out
    explained = nearnext("explain", tmp_path / "model", "--session", "i3", "--item", "i0").out
    similar = nearnext("similar", tmp_path / "model", "i3").out
    for out in (listed, explained, similar, report.read_text("utf-8")):
        assert "long long" in out
        assert "long " * 40 not in out.replace("\n", "")
        assert not {"\x1b", "\x07"} & {*out}
    assert "[bold]plain" in listed
    (whole,) = json.loads(nearnext("recommend", tmp_path / "model", "--session", "i3", "--json", "-").out)
    assert {*whole["titles"]} == {title.strip() for title in titles}


def test_a_table_without_items_is_refused(shop: tuple[Path, Path], tmp_path: Path, nearnext: Command) -> None:
    (tmp_path / "bad.csv").write_text("name,price\nTent,3\n")
    done = nearnext("fit", shop[0], "--method", "pop", "--items", tmp_path / "bad.csv", "--out", tmp_path / "model")
    assert done.code != 0
    assert "no item column; found columns name, price" in done.err


def test_how_much_of_the_log_the_table_describes_is_said(
    shop: tuple[Path, Path], tmp_path: Path, nearnext: Command
) -> None:
    clicked = pl.read_parquet(shop[0])["item_id"][0]
    (tmp_path / "two.csv").write_text(f"sku,name\n{clicked},Tent\nother,Stove\n")
    done = nearnext("fit", shop[0], "--method", "pop", "--items", tmp_path / "two.csv", "--out", tmp_path / "model")
    assert "the item table describes 1 of the log's " in " ".join(done.out.split())
    (tmp_path / "none.csv").write_text("sku,name\n3,Tent\n")
    done = nearnext("fit", shop[0], "--method", "pop", "--items", tmp_path / "none.csv", "--out", tmp_path / "none")
    assert (done.code, (tmp_path / "none").exists()) == (2, False)
    assert "the log has ids such as 'sku-" in done.err
    assert "the table 3; map the column of these ids" in done.err


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (None, "no item table at "),
        ("", "is empty; expected a header and one row per item, e.g. item_id,title,category,price"),
        ("item_id,title\n", "there are no rows; expected one row per item, below the header"),
        ("session_id,item_id,timestamp\n1,a,1577836800\n", "looks like a click log: it has the columns session_id, ti"),
        ("user,sku,ts\nx,a,2020-01-01\n", "looks like a click log: it has the columns user, ts"),
    ],
)
def test_what_is_no_item_table_is_refused(
    text: str | None, reason: str, shop: tuple[Path, Path], tmp_path: Path, nearnext: Command
) -> None:
    table = tmp_path / "table.csv"
    if text is not None:
        table.write_text(text)
    done = nearnext("fit", shop[0], "--method", "pop", "--items", table, "--out", tmp_path / "model")
    assert done.code == 2
    assert reason in done.err
    assert not (tmp_path / "model").exists()


def test_a_comparison_on_items_without_clicks(shop: tuple[Path, Path], tmp_path: Path, nearnext: Command) -> None:
    log, items = shop
    given = ("compare", log, "--methods", "pop", "--k", "5,20", "--cold-items", 0.2)
    done = nearnext(*given, "--items", items, "--json", tmp_path / "result.json")
    assert done.code == 0
    result = json.loads((tmp_path / "result.json").read_text())
    names = ["category-pop", "content-knn", "pop"]
    assert [method["name"] for method in result["methods"]] == names
    rows = [line.split()[:3] for line in done.out.splitlines() if "±" in line]
    assert rows == [[name, cases, k] for name in names for cases in ("cold", "warm") for k in ("5", "20")]
    assert result["protocol"]["cold_items"] == 0.2
    assert 0 < result["protocol"]["cold_cases"] < result["protocol"]["cases"]
    assert "name their table with --items FILE" in nearnext(*given).err
    cold = ("compare", log, "--methods", "gru4rec", "--items", items, "--cold-items", 0)
    assert "--seeds has no meaning with --cold-items" in nearnext(*cold, "--seeds", "1,2").err
    assert "--report has no page for items without clicks" in nearnext(*cold, "--report", tmp_path / "r.html").err


@pytest.mark.slow
def test_a_comparison_shows_titles_in_its_report(shop: tuple[Path, Path], tmp_path: Path, nearnext: Command) -> None:
    log, items = shop
    page, figures = tmp_path / "report.html", tmp_path / "result.json"
    given = ("compare", log, "--methods", "pop,markov", "--min-support", 1, "--json", figures, "--report", page)
    assert nearnext(*given).code == 0
    plain = json.loads(figures.read_text())
    done = nearnext(*given, "--items", items, "--format", "markdown")
    assert done.code == 0, done.err
    assert done.out.startswith("| method | HitRate@20 |")
    result = json.loads(figures.read_text())
    values = [[method["metrics"] for method in each["methods"]] for each in (plain, result)]
    assert values[0] == values[1]
    titles = dict(pl.read_csv(items).select("item_id", "title").iter_rows())
    target = result["examples"][0]["next"]
    assert result["titles"][target] == titles[target]
    assert f"<strong>{titles[target]} ({target})</strong>" in page.read_text()
