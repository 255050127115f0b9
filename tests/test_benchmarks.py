"""The benchmarks still run, in sizes that measure nothing, and say what they promise to."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks import backfill, disentangle, events, exchange, gateway, growth, million, queries, report
from benchmarks.__main__ import TOPICS
from benchmarks.backfill import History
from benchmarks.embedding import CHATS
from benchmarks.tables import Table, quantile
from ragd.errors import RagdError
from training.irc import DATA


def test_gateway() -> None:
    bursts, latency = gateway.run(messages=200, rounds=1, rates=(50,), seconds=0.5)
    assert [row[0] for row in bursts.rows] == ["ragd capture", "bare discord.py client, counting", "ragd / bare client"]
    assert [row[-1] for row in latency.rows] == ["25"]


def test_backfill() -> None:
    (table,) = backfill.run(rounds=1, histories=(History(2, 150),), slow=())
    assert len(table.rows) == 1


def test_million() -> None:
    (table,) = million.run(channels=2, messages=300)
    figures = {row[0]: row[1] for row in table.rows}
    assert figures["messages"] == "600"
    assert int(figures["read again after that"]) < 100


def test_events() -> None:
    (table,) = events.run(events=2_000, samples=2)
    assert [row[0] for row in table.rows] == ["0", "1,000", "2,000"]


def test_queries() -> None:
    (table,) = queries.run(sizes=(100,), queries=3, limits=(5,), waiting=100)
    assert (table.rows[0][0], table.rows[0][2]) == ("100", "5")


def test_growth() -> None:
    recalls, waits, rebuilds = growth.run(**growth.QUICK)  # type: ignore[arg-type]
    assert [row[0] for table in (recalls, waits, rebuilds) for row in table.rows] == ["500"] * 3
    assert min(float(share) for share in recalls.rows[0][2:6]) >= 0.98


def test_exchange() -> None:
    (table,) = exchange.run(messages=600)
    assert [row[0] for row in table.rows][:2] == ["import", "import of what is known"]
    assert [row[0] for row in table.rows][2:] == ["export, dce", "export, jsonl", "export, csv"]


def test_disentangle() -> None:
    if not DATA.is_dir() or not CHATS.is_dir():
        pytest.skip("../shared/data lacks irc-disentanglement or pyscript-discord")
    tables = disentangle.run(**disentangle.QUICK)
    assert [row[0] for row in tables[0].rows][:2] == ["previous message", "plain rules"]
    assert [len(table.rows) for table in tables] == [6, 4, 4]


def test_quantiles_are_values_that_were_measured() -> None:
    assert [quantile(range(1, 101), share) for share in (0.0, 0.5, 0.99, 1.0)] == [1, 50, 99, 100]
    assert quantile([7.0], 0.99) == 7.0
    with pytest.raises(ValueError, match="nothing"):
        quantile([], 0.5)


def test_a_block_is_replaced_and_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / "B.md"
    path.write_text("before\n<!-- bench:x -->\nold\n<!-- /bench:x -->\nafter\n")
    for text in ("new\n", "newer\n"):
        report.write_block("x", text, path)
        assert path.read_text() == f"before\n<!-- bench:x -->\n{text}<!-- /bench:x -->\nafter\n"
    with pytest.raises(RagdError, match="no block"):
        report.write_block("y", "new", path)


def test_every_topic_has_its_block() -> None:
    text = report.BENCHMARKS.read_text(encoding="utf-8")
    assert [topic for topic in TOPICS if f"<!-- bench:{topic} -->" not in text] == []


def test_a_row_has_a_cell_for_every_column() -> None:
    with pytest.raises(ValueError, match="1 cells for 2 columns"):
        Table("t", ["a", "b"]).add("1")
