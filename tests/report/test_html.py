import copy
import html
import re
import sys
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from nearnext.data.filters import Filter
from nearnext.data.sessions import Sessions
from nearnext.errors import ConfigError, DataError
from nearnext.experiments.single import statistics_result
from nearnext.report.html import comparison_page, statistics_page, write_report

pytestmark = pytest.mark.slow

VOID = {"meta", "br"}
LOG = Sessions.of([["a", "b", "a"], ["b", "c"], ["c"]], starts=[0, 90_000, 180_000])
HOSTILE = "\"'><script>alert(1)</script><img src=x onerror=alert(1)>{{ 7 * 7 }}"


class Page(HTMLParser):
    """Every start tag with its attributes and the visible text; unbalanced tags are an error."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self._open: list[str] = []
        self.feed(page)
        self.close()
        assert self._open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self._open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self._open.pop() == tag
        self.text += " "

    def handle_data(self, data: str) -> None:
        if "style" not in self._open:
            self.text += data

    def attributes(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.tags if name == tag]


@pytest.fixture(scope="module")
def pages(original: dict[str, Any]) -> dict[str, str]:
    """One page of each kind, from input that no test changes."""
    return {
        "comparison": comparison_page(original, {"HitRate": "Share of hits."}),
        "statistics": statistics_page("log", LOG, statistics_result(LOG, Filter())),
    }


def hostile(value: Any) -> Any:
    """The same result with every text of it, keys of free dictionaries included, made hostile."""
    if isinstance(value, str):
        return value + HOSTILE
    if isinstance(value, list):
        return [hostile(each) for each in value]
    if isinstance(value, dict):
        return {key: hostile(each) for key, each in value.items()}
    return value


def test_page_says_who_is_first_and_by_how_much(pages: dict[str, str]) -> None:
    page = Page(pages["comparison"])
    assert "vsknn is first with HitRate@20 0.6000 (95% interval 0.5900 to 0.6100)." in page.text
    assert "It is 0.2000 ahead of markov" in page.text
    assert "Share of hits." in page.text


def test_page_holds_everything_needed_to_repeat_the_run(pages: dict[str, str]) -> None:
    text = " ".join(Page(pages["comparison"]).text.split())
    for fact in (
        "nearnext compare clicks.csv",
        "seed 1234567",
        "versions: nearnext 0.1.0",
        "fingerprint f00d",
        "2 cores",
    ):
        assert fact in text
    assert "duration 3 min 4 s" in text
    assert "rejected: no id 10" in text
    assert "planted sessions ✓ passed nothing changed" in text


def test_best_and_second_cells_are_marked(pages: dict[str, str]) -> None:
    page = pages["comparison"]
    table = page[page.index('id="results"') : page.index('id="figures"')]
    vsknn = table[table.index("vsknn") : table.index("markov")]
    assert vsknn.count('class="best"') == 5
    assert vsknn.count('class="second"') == 2  # MRR and coverage go to markov


def test_a_failed_audit_is_the_first_thing_said(result: dict[str, Any]) -> None:
    result["audit"] = {"passed": False, "checks": [{"name": "order", "passed": False, "detail": "overlap"}]}
    page = Page(comparison_page(result))
    assert "The leak audit failed" in page.text
    assert page.text.index("The leak audit failed") < page.text.index("is first with")
    assert "✗ failed" in page.text
    assert ("p", "alert") in [(tag, attributes.get("role")) for tag, attributes in page.tags]


def test_warnings_come_before_everything_else(result: dict[str, Any]) -> None:
    result["warnings"] = ["not clean: the test log is the training log", "clicks.csv: views <and> carts"]
    result["audit"]["passed"] = False
    result["audit"]["verdict"] = result["warnings"][0]
    page = Page(comparison_page(result))
    start = page.text.index("not clean: the test log is the training log")
    assert start < page.text.index("views <and> carts") < page.text.index("How well each method predicts")
    assert "Leak audit: not clean" in page.text
    assert "passed" not in page.text[: page.text.index("Results")]


def test_p_values_at_the_floor_are_bounds_on_the_page(result: dict[str, Any]) -> None:
    test = result["significance"][0]
    test["correction"] = "Holm, 2 methods"
    test["against"][0] |= {"p": 0.001999, "p_is_bound": True}
    text = Page(comparison_page(result)).text
    assert "corrected for the number of methods (Holm, 2 methods)" in text
    assert "0.1800 to 0.2200 p < 0.002" in text
    assert "0.4800 to 0.5200 p = 0.002" in text


def test_nothing_from_the_data_becomes_markup(result: dict[str, Any], pages: dict[str, str]) -> None:
    plain_tags = {tag for tag, _ in Page(pages["comparison"]).tags}
    attacked = copy.deepcopy(result)
    for each in attacked["methods"]:
        each["name"] += HOSTILE
        each["params"] = {HOSTILE: HOSTILE}
        each["by_prefix_length"] = hostile(each["by_prefix_length"])
    for key in ("protocol", "audit"):
        attacked[key] = hostile(attacked[key])
    attacked["protocol"][HOSTILE] = HOSTILE
    attacked["data"] = hostile(attacked["data"])
    attacked["data"]["reading"][0]["rejected"] = {HOSTILE: 3}
    for test in attacked["significance"]:
        test["best"] += HOSTILE
        test["against"] = hostile(test["against"])
    page = Page(comparison_page(attacked, {HOSTILE: HOSTILE}))
    assert {tag for tag, _ in page.tags} == plain_tags
    assert not [name for _, attributes in page.tags for name in attributes if name.startswith("on")]
    assert "alert(1)" in page.text
    assert "{{ 7 * 7 }}" in page.text


def test_log_names_and_file_names_are_harmless() -> None:
    found = statistics_result(LOG, Filter(), reading={"source": HOSTILE, "rejected": {HOSTILE: 1}})
    page = Page(statistics_page(HOSTILE, LOG, found))
    assert page.attributes("script") == page.attributes("img") == []
    assert page.text.count("alert(1)") >= 6


@pytest.mark.parametrize("kind", ["comparison", "statistics"])
def test_page_loads_nothing_and_runs_nothing(pages: dict[str, str], kind: str) -> None:
    text = pages[kind]
    page = Page(text)
    assert not {"script", "link", "iframe", "object", "img"} & {tag for tag, _ in page.tags}
    for _, attributes in page.tags:
        assert not {"src", "srcset", "data", "action"} & set(attributes)
        assert all((value or "").startswith("#") for name, value in attributes.items() if name.endswith("href"))
    assert not re.search(r"@import|url\((?!#|'#|\"#)", text)
    policy = [each.get("content") for each in page.attributes("meta") if "http-equiv" in each]
    assert policy == ["default-src 'none'; style-src 'unsafe-inline'"]


@pytest.mark.parametrize("kind", ["comparison", "statistics"])
def test_page_is_accessible(pages: dict[str, str], kind: str) -> None:
    page = Page(pages[kind])
    assert page.attributes("html") == [{"lang": "en"}]
    assert all(each.get("scope") in ("col", "row") for each in page.attributes("th"))
    pictures = [each for each in page.attributes("div") if each.get("role") == "img"]
    assert len(pictures) == len(page.attributes("svg")) == len(page.attributes("figure")) > 0
    assert all(each["aria-label"] for each in pictures)
    assert all(each.get("role") != "region" for each in page.attributes("div"))  # landmarks named as their sections
    ids = [attributes["id"] for tag, attributes in page.tags if tag == "h2"]
    assert len(ids) == len(set(ids))
    assert {(each["href"] or "")[1:] for each in page.attributes("a")} <= set(ids)
    assert {each["aria-labelledby"] for each in page.attributes("section") if "aria-labelledby" in each} == set(ids)


def test_pages_are_deterministic(result: dict[str, Any], pages: dict[str, str]) -> None:
    assert comparison_page(result, {"HitRate": "Share of hits."}) == pages["comparison"]
    assert statistics_page("log", LOG, statistics_result(LOG, Filter())) == pages["statistics"]


def test_a_bare_result_makes_a_page_without_empty_parts() -> None:
    bare = {"methods": [{"name": "pop", "metrics": {"MRR@10": {"value": 0.5}}}]}
    page = Page(comparison_page(bare))
    assert "pop reaches MRR@10 0.5000." in page.text
    assert "Leak audit" not in page.text
    headings = [attributes["id"] for tag, attributes in page.tags if tag == "h2"]
    assert headings == ["results", "figures", "parameters"]


def test_the_longest_list_has_the_main_table(result: dict[str, Any]) -> None:
    text = Page(comparison_page(result)).text
    assert text.index("Results at k = 20") < text.index("Other list lengths") < text.index("k = 5")


def test_statistics_page_shows_both_sides_of_the_filter() -> None:
    page = Page(statistics_page("A log", LOG, statistics_result(LOG, Filter(min_length=2, max_length=2))))
    text = " ".join(page.text.split())
    assert "sessions 2 3" in text
    assert "events 4 6" in text
    assert "of each session the last 2 clicks" in text
    assert "It took 1 short sessions and 0 clicks on rare items, and cut 1 clicks from 1 long sessions." in text
    assert len(page.attributes("svg")) == 4
    assert "after the filter" in text


def test_a_filter_that_leaves_nothing_still_makes_a_page() -> None:
    text = " ".join(Page(statistics_page("A log", LOG, statistics_result(LOG, Filter(min_support=100)))).text.split())
    assert "sessions 0 3" in text
    assert "first click – 1970-01-01 00:00 UTC" in text


def test_inputs_are_not_modified(result: dict[str, Any]) -> None:
    before = copy.deepcopy(result)
    comparison_page(result)
    assert result == before


def test_report_is_written_whole_or_not_at_all(tmp_path: Path) -> None:
    path = tmp_path / "report.html"
    write_report(path, "old")
    write_report(path, "né\udcff")
    assert path.read_text(encoding="utf-8") == "né?"
    assert [found.name for found in tmp_path.iterdir()] == ["report.html"]
    with pytest.raises(DataError, match=r"cannot write .*: No such file or directory; choose a writable folder"):
        write_report(tmp_path / "nowhere" / "report.html", "page")


def test_missing_jinja2_is_one_clear_line(result: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "jinja2", None)
    with pytest.raises(ConfigError, match=r"the HTML report needs the package jinja2; install it with: pip install"):
        comparison_page(result)


def test_leaks_are_alarms_and_notes_are_not(result: dict[str, Any]) -> None:
    result["warnings"] = ["not clean: the test log is the training log", "clicks.csv: views count as one click"]
    page = comparison_page(result)
    assert '<p class="alarm failed" role="alert">not clean: the test log' in page
    assert '<p class="notice" role="note">clicks.csv: views' in page


def test_the_command_that_repeats_a_result_has_an_option_on_each_line(result: dict[str, Any]) -> None:
    result["protocol"]["command"] = "nearnext compare 'a log.csv' --k 5 --report r.html"
    page = html.unescape(comparison_page(result))
    assert "nearnext compare 'a log.csv' \\\n  --k 5 \\\n  --report r.html" in page


def test_one_table_has_the_differences_on_every_metric(result: dict[str, Any]) -> None:
    text = " ".join(Page(comparison_page(result)).text.split())
    rows = text[text.index("The first method on each metric minus") : text.index("Lists as the methods leave them")]
    assert re.search(r"method HitRate@20 MRR@20 vsknn first 0\.\d{4}", rows), rows
    assert re.search(r"markov 0\.\d{4}.* p = 0\.002 first pop 0\.\d{4}.* p = 0\.002 –", rows), rows


def test_example_cases_show_each_list_with_the_next_item_marked(result: dict[str, Any]):
    result["examples"] = [{"clicks": ["a", 7], "next": HOSTILE}]
    for method in result["methods"]:
        method["examples"] = [["b", HOSTILE] if method["name"] == "vsknn" else ["c"]]
    page = Page(comparison_page(result))
    assert "a → 7" in page.text
    assert page.text.count(f"✓ {HOSTILE}") == 1
    assert "vsknn" in page.text.partition("Example sessions")[2]


def test_the_page_says_what_to_do_next_with_commands_that_name_the_log(result: dict[str, Any]):
    result["data"]["unknown_test_clicks"] = 1200
    result["methods"][0]["params"]["seed"] = 7
    steps = Page(comparison_page(result)).text.partition("What to do next")[2].partition("What to do next")[2]
    wanted = (
        "--tuned",
        "--seeds 7,8,9",
        "HeadHitRate,TailHitRate",
        "33.3%",
        "fit clicks.csv",
        "--method vsknn",
        "serve",
    )
    for part in wanted:
        assert part in steps
    command = result["protocol"]["command"]
    for quiet in ("-q", "--quiet"):
        result["protocol"]["command"] = command.replace("nearnext ", f"nearnext {quiet} ", 1)
        assert "nearnext serve model" in Page(comparison_page(result)).text
    result["protocol"]["command"] = f"{command} --metrics NDCG"
    assert "HeadHitRate,TailHitRate" not in Page(comparison_page(result)).text.rpartition("What to do next")[2]
    result["audit"]["passed"] = False
    steps = Page(comparison_page(result)).text.rpartition("What to do next")[2]
    assert "compare again" in steps
    assert "serve" not in steps
