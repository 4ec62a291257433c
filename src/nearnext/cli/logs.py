"""Commands about logs: stats, prepare, synth."""

import re
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from nearnext.cli.app import app, command_line, takes, within
from nearnext.cli.engine import PREPARE_PAYS, Engine, runs_parts
from nearnext.cli.output import Results, console, writable, writable_folder
from nearnext.cli.reading import LogArgument, Reading, filters_by, read_log, reads_logs, show_reading
from nearnext.cli.saving import require_outside
from nearnext.errors import ConfigError
from nearnext.options import Natural

if TYPE_CHECKING:
    from nearnext.data.filters import Filter

MOST_CATEGORIES, ITEMS_PER_CATEGORY = 20, 60
"""A synthetic shop has 20 categories, fewer where they would hold less than 60 items."""

READ = 1 << 16
"""Bytes at both ends of a file that tell whether it is synthetic."""

INFORMATIVE = 0.8
"""Default affinity of a synthetic shop written with its item table."""


@app.command()
@reads_logs
@takes("results", Results)
@filters_by(min_support=5, max_length=0)
def stats(log: LogArgument, *, chosen: "Filter", results: Results, reading: Reading) -> None:
    """The paper's Table 1 and Figure 1 of a log: sizes before and after filtering, session lengths, recurring items."""
    from nearnext.experiments.single import statistics_result
    from nearnext.report.html import statistics_page
    from nearnext.report.tables import statistics_table

    sessions, report = read_log(log, reading)
    read = asdict(report)
    result = statistics_result(sessions, chosen, reading=read, command=command_line())
    results.write(result, lambda: statistics_page(Path(log).name or log, sessions, result))
    table = statistics_table(result)
    results.write_tables(lambda _: [table])
    console.print(table)
    results.announce()


@app.command()
@reads_logs
@runs_parts
@filters_by(min_support=1, max_length=0)
def prepare(
    log: LogArgument,
    out: Annotated[Path, typer.Argument(metavar="OUT", help="Folder to write, or a file *.parquet.")],
    *,
    partitions: Annotated[
        int, typer.Option(callback=within(Natural), help="Parts that are held in memory one by one; 0: by size.")
    ] = 0,
    engine: Engine,
    chosen: "Filter",
    reading: Reading,
) -> None:
    """Read, sessionise and filter a log of any size once, so that other commands need little memory."""
    from nearnext.data.prepare import prepare as prepare_log

    engine = engine.for_log(log, PREPARE_PAYS)
    require_outside(out, reading.options.rejects)
    writable_folder(out.absolute().parent, out)
    with engine.executor() as executor:
        done = prepare_log(
            log,
            out,
            **vars(reading.options),
            gap=reading.gap,
            collapse_repeats=reading.collapse_repeats,
            chosen=chosen,
            partitions=partitions or None,
            workers=executor,
        )
    counted = done.repeats.facts(reading.options.used(done.read.event_types))
    show_reading(replace(done.read, repeats=counted), reading)
    taken = done.filtered
    console.print(
        f"the filter took {taken.short_sessions:,} short sessions and {taken.rare_clicks:,} clicks on rare items, "
        f"and cut {taken.cut_clicks:,} clicks from {taken.cut_sessions:,} long sessions"
    )
    console.print(f"{done.events:,} clicks in {done.sessions:,} sessions on {done.items:,} items: {done.out}")


@app.command()
def synth(
    out: Annotated[Path, typer.Argument(metavar="OUT", help="File to write: .parquet, .csv or .tsv.")],
    *,
    sessions: Annotated[int, typer.Option(help="Number of sessions, 2 clicks or more each.")] = 20_000,
    items: Annotated[int, typer.Option(help="Number of items.")] = 2_000,
    days: Annotated[int, typer.Option(help="Days that the log covers.")] = 30,
    seed: Annotated[int, typer.Option(help="Seed: the same seed gives the same log.")] = 7,
    item_table: Annotated[
        Path | None, typer.Option(help="Also write titles, categories and prices: .parquet, .jsonl, .csv or .tsv.")
    ] = None,
    affinity: Annotated[
        float | None,
        typer.Option(
            help="Share of an item's successors chosen by product line, so that attributes are informative; "
            "default: 0.8 with --item-table, else 0."
        ),
    ] = None,
) -> None:
    """A synthetic shop's click log, with the best hit rate that anyone can reach on its Markov part."""
    from nearnext.data.shop_items import write_items
    from nearnext.data.synthetic import SyntheticShop, best_hit_rate, write_log

    writable(out, item_table)
    for path in filter(None, (out, item_table)):
        if path.is_file() and not _is_synthetic(path):
            raise ConfigError(f"{path} exists and was not written by synth; name another file")
    if affinity is None:
        affinity = 0.0 if item_table is None else INFORMATIVE
    categories = max(1, min(MOST_CATEGORIES, items // ITEMS_PER_CATEGORY))
    shop = SyntheticShop(sessions=sessions, items=items, categories=categories, days=days, affinity=affinity, seed=seed)
    if item_table is not None:
        console.print(f"{write_items(shop, item_table):,} items with title, categories and price: {item_table}")
    written = write_log(shop, out)
    console.print(f"{written:,} clicks in {sessions:,} sessions: {out}")
    best = ", ".join(f"HitRate@{k} {best_hit_rate(shop, k):.4f}" for k in (1, 5))
    console.print(f"the best that can be reached on its {shop.p_markov:.0%} Markov clicks: {best}")


def _is_synthetic(path: Path) -> bool:
    """Whether a file is empty, or has ids of ``synth`` in its first rows or, in Parquet, its statistics."""
    with path.open("rb") as file:
        first = file.read(READ)
        file.seek(max(0, path.stat().st_size - READ))
        return not first or any(re.search(rb"sku-\d{5}", part) for part in (first, file.read()))
