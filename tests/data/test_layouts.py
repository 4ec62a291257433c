"""Every known layout is recognised without options, and columns are found by name or mapped."""

import gzip
from pathlib import Path

import pytest

from nearnext.data.events import ReadReport, read_events
from nearnext.data.layouts import recognise
from nearnext.data.sessionise import read_sessions
from nearnext.errors import ConfigError, DataError

# 2014-04-07T10:51:09Z
SECONDS = 1_396_867_869
MICROS = SECONDS * 1_000_000


def read(path: Path, text: str, **options: str) -> tuple[list[tuple[object, ...]], ReadReport]:
    path.write_text(text)
    log = read_events(path, layout=options.get("layout"))
    return log.frame.rows(), log.report


def test_session_rec_tsv(tmp_path: Path) -> None:
    text = f"SessionId\tTime\tItemId\n1\t{SECONDS}.277\t214536502\n2\t{SECONDS}.0\t7\n"
    rows, report = read(tmp_path / "rsc15.txt", text)
    assert rows == [(1, 214536502, MICROS + 277_000), (2, 7, MICROS)]
    assert report == ReadReport(
        source=str(tmp_path / "rsc15.txt"),
        layout="session-rec TSV",
        columns={"session": "SessionId", "item": "ItemId", "time": "Time"},
        time_unit="seconds",
        rows=2,
        used=2,
        rejected={},
        event_types={},
    )


def test_yoochoose_clicks(tmp_path: Path) -> None:
    text = "1,2014-04-07T10:51:09.277Z,214536502,0\n1,2014-04-07T10:54:09.868Z,214536500,S\n"
    rows, report = read(tmp_path / "yoochoose-clicks.dat", text)
    assert rows == [(1, 214536502, MICROS + 277_000), (1, 214536500, MICROS + 180_591_000 + 277_000)]
    assert (report.layout, report.time_unit) == ("yoochoose-clicks", "ISO 8601 text")
    assert report.columns == {"session": "column 1", "time": "column 2", "item": "column 3"}


def test_retailrocket_events_are_split_by_user_and_cut_by_pause(tmp_path: Path) -> None:
    path = tmp_path / "events.csv"
    later = SECONDS + 1801
    text = (
        "timestamp,visitorid,event,itemid,transactionid\n"
        f"{SECONDS}000,7,view,10,\n{SECONDS}500,7,addtocart,10,\n{later}500,7,transaction,11,4000\n"
    )
    rows, report = read(path, text)
    assert rows == [(7, 10, MICROS), (7, 10, MICROS + 500_000), (7, 11, MICROS + 1_801_500_000)]
    assert report.layout == "Retailrocket events"
    assert report.columns == {"user": "visitorid", "item": "itemid", "time": "timestamp", "event": "event"}
    assert report.time_unit == "milliseconds"
    assert report.event_types == {"view": 1, "addtocart": 1, "transaction": 1}
    assert read_sessions(path).session_ids.to_list() == ["7:1", "7:2"]
    assert read_events(path, events=["transaction"]).frame.rows() == rows[2:]


def test_diginetica(tmp_path: Path) -> None:
    text = "sessionId;userId;itemId;timeframe;eventdate\n1;NA;81766;526309;2016-05-09\n1;NA;31331;1031018;2016-05-09\n"
    rows, report = read(tmp_path / "train-item-views.csv", text)
    midnight = 1_462_752_000_000_000
    assert rows == [(1, 81766, midnight + 526_309_000), (1, 31331, midnight + 1_031_018_000)]
    assert (report.layout, report.time_unit) == ("Diginetica", "dates plus milliseconds")
    assert report.columns["date"] == "eventdate"


def test_otto_jsonl(tmp_path: Path) -> None:
    text = (
        f'{{"session":1,"events":[{{"aid":59625,"ts":{SECONDS}025,"type":"clicks"}},'
        f'{{"aid":1142000,"ts":{SECONDS}225,"type":"carts"}}]}}\n'
        f'{{"session":2,"events":[]}}\n{{"session":3,"events":[{{"aid":5,"ts":{SECONDS}000,"type":"clicks"}}]}}\n'
    )
    rows, report = read(tmp_path / "otto.jsonl", text)
    assert rows == [(1, 59625, MICROS + 25_000), (1, 1142000, MICROS + 225_000), (3, 5, MICROS)]
    assert (report.layout, report.time_unit) == ("OTTO JSONL", "milliseconds")
    assert report.columns == {"session": "session", "item": "events.aid", "time": "events.ts", "event": "events.type"}
    assert report.event_types == {"clicks": 2, "carts": 1}


@pytest.mark.parametrize(
    "header",
    [
        "session_id,item_id,timestamp",
        "SessionId,ItemId,Time",
        "session,aid,ts",
        " Session-ID , itemid ,TIMESTAMP",
        "session_id:token,item_id:token,timestamp:float",
    ],
)
@pytest.mark.parametrize("delimiter", ["\t", ";", ",", "|"])
def test_columns_are_found_by_name_and_delimiters_sniffed(tmp_path: Path, header: str, delimiter: str) -> None:
    rows, _ = read(tmp_path / "log.csv", f"{header}\na,x,{SECONDS}\n".replace(",", delimiter))
    assert rows == [("a", "x", MICROS)]


def test_a_session_column_wins_over_a_user_column(tmp_path: Path) -> None:
    path = tmp_path / "log.csv"
    path.write_text(f"user_id,session_id,item_id,time\nu,s,i,{SECONDS}\n")
    assert read_events(path).frame.columns == ["session_id", "item_id", "time"]
    mapped = read_events(path, columns={"user": "user_id"})
    assert mapped.frame.columns == ["user_id", "item_id", "time"]


def test_columns_are_mapped_by_option(tmp_path: Path) -> None:
    path = tmp_path / "log.csv"
    path.write_text(f"sid,sku,at,what\ns,i,{SECONDS},view\n")
    log = read_events(path, columns={"session": "sid", "item": "sku", "time": "at", "event": "what"})
    assert log.frame.rows() == [("s", "i", MICROS)]
    assert log.report.columns == {"session": "sid", "item": "sku", "time": "at", "event": "what"}
    assert (log.report.layout, log.report.event_types) == ("columns by name", {"view": 1})


def test_a_layout_can_be_named(tmp_path: Path) -> None:
    text = f"SessionId\tItemId\tTime\n1\t2\t{SECONDS}\n"
    assert read(tmp_path / "log.tsv", text, layout="Session-Rec")[1].layout == "session-rec TSV"
    assert read(tmp_path / "log.tsv", text, layout="columns")[1].layout == "columns by name"
    with pytest.raises(ConfigError, match="unknown layout 'rsc15'; known: session-rec, yoochoose-clicks"):
        read(tmp_path / "log.tsv", text, layout="rsc15")
    with pytest.raises(DataError, match=r"a Diginetica log has columns .* found SessionId, ItemId, Time"):
        read(tmp_path / "log.tsv", text, layout="diginetica")
    with pytest.raises(DataError, match="a yoochoose-clicks log has no header"):
        read(tmp_path / "log.tsv", text, layout="yoochoose-clicks")


@pytest.mark.parametrize(
    ("header", "message"),
    [
        ("item_id,timestamp", "no session or user column; found columns item_id, timestamp; map it, e.g. session="),
        ("session_id,timestamp", "no item column"),
        ("session_id,item_id", "no time column"),
        ("a,b,c", "no column names known in the first line"),
        ("session_id,Session_Id,item_id,ts", "columns session_id, Session_Id could each be the session"),
        ("session_id,item_id,item_id,ts", "2 columns are called item_id, which is the item"),
    ],
)
def test_missing_and_doubtful_columns_are_named(tmp_path: Path, header: str, message: str) -> None:
    with pytest.raises(DataError, match=message):
        read(tmp_path / "log.csv", f"{header}\n1,2,3,4\n")


def test_unknown_roles_and_columns_are_named(tmp_path: Path) -> None:
    path = tmp_path / "log.csv"
    path.write_text(f"session_id,item_id,timestamp\n1,2,{SECONDS}\n")
    with pytest.raises(ConfigError, match="unknown column role 'product'; known: session, user, item, time, event"):
        read_events(path, columns={"product": "item_id"})
    with pytest.raises(DataError, match="no column 'sku' for item; found columns session_id, item_id, timestamp"):
        read_events(path, columns={"item": "sku"})


def test_files_that_tell_events_by_different_keys_do_not_mix(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text(f"session_id,item_id,time\n1,2,{SECONDS}\n")
    (tmp_path / "b.csv").write_text(f"user_id,item_id,time\n1,2,{SECONDS}\n")
    with pytest.raises(DataError, match=r"b.csv tells events by user, the files before it by session"):
        read_events(tmp_path)


def test_recognition_is_the_same_in_a_compressed_file(tmp_path: Path) -> None:
    path = tmp_path / "clicks.csv.gz"
    path.write_bytes(gzip.compress(f"SessionId\tItemId\tTime\n1\t2\t{SECONDS}\n".encode()))
    assert read_events(path).report.layout == "session-rec TSV"


def test_names_of_a_table_prefix_are_found() -> None:
    layout = recognise("log", ["clicks.session_id", "clicks.item_id", "clicks.ts"], [], {}, None)
    assert layout.columns == {"session": "clicks.session_id", "item": "clicks.item_id", "time": "clicks.ts"}


LISTENS = "u1\t2009-05-04T23:08:57Z\tart-1\tDeep, Dish\ttrk-1\tFlash\nu1\t2009-05-04T23:09:57Z\tart-2\tX\ttrk-2\tBorn\n"
BY_POSITION = [
    {"user": "column 1", "time": "column 2", "item": "column 5"},
    {"user": "1", "time": "2", "item": "5"},
    {"item": "5", "user": "column 1", "time": "2"},
]


@pytest.mark.parametrize("columns", BY_POSITION)
def test_a_file_without_header_is_mapped_by_position(tmp_path: Path, columns: dict[str, str]) -> None:
    (tmp_path / "listens.tsv").write_text(LISTENS)
    log = read_events(tmp_path / "listens.tsv", columns=columns, strict=True)
    assert [row[:2] for row in log.frame.rows()] == [("u1", "trk-1"), ("u1", "trk-2")]
    assert (log.report.layout, log.report.columns["item"]) == ("columns by position", "column 5")


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        (None, "no column names known in the first line"),
        ({"user": "listener", "item": "track"}, "no column 'listener' for user; .*has no header: give positions"),
        ({"user": "1", "time": "2", "item": "7"}, "no column 7 for item; found 6 columns"),
        ({"user": "1", "item": "5"}, "no time column"),
        ({"item": "5"}, "no session or user and no time column"),
    ],
)
def test_a_file_without_header_is_never_guessed(tmp_path: Path, columns: dict[str, str] | None, message: str) -> None:
    (tmp_path / "listens.tsv").write_text(LISTENS)
    with pytest.raises(DataError, match=message):
        read_events(tmp_path / "listens.tsv", columns=columns)


YOOCHOOSE = "1,2014-04-07T10:51:09.277Z,214536502,0\n1,2014-04-07T10:54:09.868Z,214536500,S\n"


@pytest.mark.parametrize(
    ("columns", "ids"),
    [
        ({"item": "4"}, [(1, "0"), (1, "S")]),
        ({"user": "column 3", "item": "1"}, [(214536502, 1), (214536500, 1)]),
        ({"session": "3"}, [(214536502, 214536502), (214536500, 214536500)]),
    ],
)
def test_a_mapping_wins_over_a_recognised_layout(
    tmp_path: Path, columns: dict[str, str], ids: list[tuple[object, object]]
) -> None:
    (tmp_path / "clicks.dat").write_text(YOOCHOOSE)
    log = read_events(tmp_path / "clicks.dat", columns=columns)
    assert [row[:2] for row in log.frame.rows()] == ids


def test_a_mapping_wins_over_each_layout_with_a_header(tmp_path: Path) -> None:
    path = tmp_path / "log.csv"
    path.write_text(f"timestamp,visitorid,event,itemid,transactionid\n{SECONDS}000,7,view,10,33\n")
    assert read_events(path, columns={"item": "transactionid"}).frame.rows() == [(7, 33, MICROS)]
    path.write_text(f"sessionId;userId;itemId;timeframe;eventdate;at\n1;9;81766;5;2016-05-09;{SECONDS}\n")
    assert read_events(path, columns={"time": "at", "user": "userId"}).frame.rows() == [(9, 81766, MICROS)]
    assert read_events(path, columns={"time": "6", "item": "column 3"}).frame.rows() == [(1, 81766, MICROS)]


def test_a_position_tells_columns_of_one_name_apart(tmp_path: Path) -> None:
    (tmp_path / "log.csv").write_text(f"session_id,item,item,time\ns,a,b,{SECONDS}\n")
    assert read_events(tmp_path / "log.csv", columns={"item": "3"}).frame["item_id"].to_list() == ["b"]


def test_the_words_of_a_first_row_are_no_header(tmp_path: Path) -> None:
    (tmp_path / "log.csv").write_text(f"user,item,{SECONDS}\nu2,i2,{SECONDS}\n")
    log = read_events(tmp_path / "log.csv", columns={"user": "1", "item": "2", "time": "3"})
    assert [row[:2] for row in log.frame.rows()] == [("user", "item"), ("u2", "i2")]
