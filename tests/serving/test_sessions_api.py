"""What the endpoints of live sessions keep, log and recommend, over real HTTP."""

from urllib.parse import quote

import pytest

from nearnext.data.sessionise import read_sessions
from nearnext.recommenders.base import Recommender
from serving_support import LOG, Client, Server, click, lines_of

pytestmark = pytest.mark.slow


def test_clicks_are_kept_and_recommended_from(client: Client, recommender: Recommender):
    assert click(client, "kept", "i1") == {
        "length": 1,
        "stored": True,
        "reason": None,
        "logged": True,
        "recommendations": None,
    }
    answer = click(client, "kept", "i2", "i3", k=5)
    expected = recommender.recommend([["i1", "i2", "i3"]], k=5)[0]
    assert answer["length"] == 3
    assert answer["recommendations"]["items"] == expected.items
    later = client(
        "GET", "/v1/sessions/kept/recommendations?k=4&exclude=i1,i9&exclude=i8&exclude_seen=true&time=5"
    ).json
    assert (
        later["items"]
        == recommender.recommend([["i1", "i2", "i3"]], k=4, exclude=["i9", "i8"], exclude_seen=True)[0].items
    )
    assert later["length"] == 3


def test_without_consent_nothing_is_stored_or_logged(client: Client, server: Server, recommender: Recommender):
    for body in ({"items": ["i1"], "k": 3}, {"items": ["i1"], "k": 3, "consent": False}):
        answer = client("POST", "/v1/sessions/private/events", body).json
        assert (answer["stored"], answer["logged"]) == (False, None)
        assert answer["reason"] == 'no consent: send "consent": true to have clicks stored'
        assert answer["recommendations"]["items"] == recommender.recommend([["i1"]], k=3)[0].items
    assert client("GET", "/v1/sessions/private/recommendations").json["length"] == 0
    folder = server.log.parent / "events"
    assert not any("private" in file.read_text() for file in folder.rglob("*.jsonl"))


def test_a_forgotten_session_is_gone(client: Client):
    click(client, "gone", "i1", "i2")
    assert client("DELETE", "/v1/sessions/gone").status == 204
    assert client("GET", "/v1/sessions/gone/recommendations").json["length"] == 0
    assert client("DELETE", "/v1/sessions/gone").status == 204


def test_an_unknown_session_gets_the_popular_items(client: Client):
    answer = client("GET", "/v1/sessions/never-seen/recommendations?k=3").json
    assert answer["items"] == LOG.vocabulary.decode([1, 2, 3])
    assert (answer["own"], answer["length"]) == (0, 0)


@pytest.mark.parametrize(
    "name",
    ["../../etc/passwd", "..", "a/b", "%2e%2e", "naïve-ключ-🛒", "a\n\0b", "'; DROP TABLE--", "C:\\x", "~", "Null."],
)
def test_any_text_is_a_session_id_and_nothing_else(client: Client, server: Server, name: str):
    assert click(client, name, "i1")["length"] == 1
    assert click(client, name, "i2")["length"] == 2
    assert client("GET", f"/v1/sessions/{quote(name, safe='')}/recommendations").json["length"] == 2
    events = lines_of(server.log.parent / "events")
    assert sum(event["session_id"] == name for event in events) == 2


@pytest.mark.parametrize("name", ["NULL", "undefined", " nan ", " ", "\n\r\t\0", "<NA>", r"\N", "%C2%A0"])
def test_what_a_fit_takes_for_no_id_is_refused_and_not_stored(client: Client, server: Server, name: str):
    path = quote(name, safe="%")
    click(client, "known", "i1")  # so that there is a log
    for method, rest, body in (
        ("POST", "/events", {"items": ["i1"], "consent": True}),
        ("GET", "/recommendations", None),
        ("DELETE", "", None),
    ):
        reply = client(method, f"/v1/sessions/{path}{rest}", body)
        assert (reply.status, "expected an id" in reply.json["detail"]) == (422, True)
    if "%" not in name:
        reply = client("POST", "/v1/sessions/whole/events", {"items": ["i1", name], "consent": True})
        assert (reply.status, "expected an id" in reply.json["detail"]) == (422, True)
    assert client("PUT", f"/v1/items/{path}", {}).status == 422
    assert client("GET", "/v1/sessions/whole/recommendations").json["length"] == 0
    read = read_sessions(str(server.log.parent / "events"))
    assert "whole" not in read.session_ids.to_list()


def test_ids_that_a_fit_reads_as_one_are_one_live_session(client: Client, server: Server):
    for number, name in enumerate((" s1 ", "s1", "\u00a0s1\t"), start=1):
        assert click(client, name, "i1")["length"] == number
    assert click(client, "12.0", "i1")["length"] + click(client, "12", "i1")["length"] == 3
    assert click(client, "012", "i1")["length"] == 1
    sessions = read_sessions(str(server.log.parent / "events"))
    assert sessions.raw(sessions.session_ids.to_list().index("s1")) == ["i1"] * 3
    assert client("DELETE", "/v1/sessions/%20s1").status == 204
    assert client("GET", "/v1/sessions/s1/recommendations").json["length"] == 0


def test_the_event_log_is_a_click_log(client: Client, server: Server):
    click(client, "logged", "i1", "i2", k=2, time=1.5e9)
    click(client, "logged", "i3", time=1.5e9 + 60)
    sessions = read_sessions(str(server.log.parent / "events"))
    place = sessions.session_ids.to_list().index("logged")
    assert sessions.raw(place) == ["i1", "i2", "i3"]
    shown = lines_of(server.log.parent / "events" / "shown")
    assert any(line["session_id"] == "logged" and len(line["items"]) == 2 for line in shown)


def test_a_comma_in_an_id_is_encoded_in_a_query(client: Client):
    click(client, "commas", "i1")
    answer = client("GET", "/v1/sessions/commas/recommendations?exclude=no%2Cpe,i1&allow=i1&allow=i2,i3").json
    assert sorted(answer["items"]) == ["i2", "i3"]
    assert answer["unmatched"] == ["no,pe"]
