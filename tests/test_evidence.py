"""Evidence: intervals by hand, sentences, and prose that must not part from its rows."""

import json
import math
from typing import Any

import pytest

from utils import evidence

ROWS = [{"seed": s, "source": "made", "baseline": b, "method": m,
         "more": {"third": t, "loss": 1 - t}}
        for s, (b, m, t) in enumerate([(1.0, 1.5, 0.0), (2.0, 2.7, 1.0), (3.0, 3.3, 2.0)])]
REAL = [r | {"source": "real", "more": {"loss": 2.0 + r["seed"]}, "items": 24} for r in ROWS]
STORED = {"chapter": "x", "metric": "F", "better": "higher", "method_name": "new",
          "baseline_name": "old", "rows": ROWS + REAL,
          "comparisons": {"other": ["new", "third"],
                          "price": ["loss", "third", "error", "lower"]}}


@pytest.fixture
def stored(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    monkeypatch.setattr(evidence, "load", lambda slug: STORED)
    monkeypatch.delenv("BOOK_MEASURING", raising=False)
    return STORED


def test_summary_by_hand() -> None:
    """Differences .5, .7, .3: mean .5, s = .2, t(.975, 2) = 4.3027, half width .4968."""
    summary = evidence.summarise(STORED, "made")
    assert summary.difference == pytest.approx(0.5)
    assert summary.low == pytest.approx(0.5 - 0.4968, abs=1e-4)
    assert summary.verdict == "better"
    lower = evidence.summarise(STORED, "made", better="lower")
    assert lower.verdict == "worse" and lower.gain[0] == pytest.approx(-0.5)
    other = evidence.summarise(STORED, "made", "new", "third")
    assert other.difference == pytest.approx(1.5)
    with pytest.raises(ValueError, match="no arm"):
        evidence.summarise(STORED, "made", "nothing")
    with pytest.raises(ValueError, match="no rows"):
        evidence.summarise(STORED, "elsewhere")


def test_verdict_is_one_definite_sentence_a_source(stored) -> None:
    said = evidence.verdict("x")
    assert said.count(". ") == 1  # two sentences
    made, real = said.split(". ")
    assert made == ("On made, F: new 2.500, old 2.000; difference +0.500 "
                    "(+0.003 to +0.997, 3 seeds): new is better")
    assert real.startswith("On these 24 pictures (real), F:")
    assert evidence.verdict("x", source="made") == made + "."
    assert evidence.verdict("x")._repr_html_().startswith("<p class='verdict'>On made")


def test_verdict_knows_that_lower_may_be_better(stored) -> None:
    """third - loss = -1, 1, 3: no interval away from zero; `real` has no arm third."""
    said = evidence.verdict("x", "price")
    assert said.startswith("On made, error (lower is better): loss 0.000, third 1.000")
    assert said.endswith("no difference shown.") and "real" not in said
    with pytest.raises(ValueError, match="no comparison 'nope'.*claim.*other.*price"):
        evidence.verdict("x", "nope")
    with pytest.raises(ValueError, match="no rows measured on 'else'"):
        evidence.verdict("x", source="else")
    with pytest.raises(ValueError, match="no source of x has both"):
        evidence.verdict("x", "other", source="real")


def test_says_is_silent_while_prose_and_rows_agree(stored) -> None:
    assert evidence.says("x", claim="better", price="no difference shown") is None
    assert evidence.says("x", source="real", claim="better") is None
    with pytest.raises(ValueError, match="prose says 'worse' of 'claim', the rows say "
                                         "'better': On made, F: new 2.500"):
        evidence.says("x", claim="worse")
    with pytest.raises(ValueError, match="one of"):
        evidence.says("x", claim="much better")
    with pytest.raises(ValueError, match="no comparison"):
        evidence.says("x", nope="better")


def test_says_waits_while_the_tools_measure(stored, monkeypatch) -> None:
    monkeypatch.setenv("BOOK_MEASURING", "1")
    assert evidence.says("x", claim="worse") is None
    assert "Not measured" in evidence.verdict("x", "new_comparison")
    assert len(evidence.show("x", "claim", "new_comparison").rows) == 2
    monkeypatch.setattr(evidence, "load", lambda slug: None)
    assert "Not measured" in evidence.verdict("x")
    monkeypatch.delenv("BOOK_MEASURING")
    with pytest.raises(ValueError, match="make evidence CHAPTER=x"):
        evidence.says("x", claim="better")


def test_one_seed_has_no_interval(monkeypatch) -> None:
    one = STORED | {"rows": ROWS[:1]}
    monkeypatch.setattr(evidence, "load", lambda slug: one)
    assert evidence.verdict("x").endswith("one seed, no interval: one seed: no interval.")
    with pytest.raises(ValueError, match="one seed"):
        evidence.says("x", claim="better")


def test_table_has_five_comparisons_at_most_and_no_row_without_arm(stored) -> None:
    shown = evidence.show("x").rows
    assert [(r[0], r[1]) for r in shown] == [
        ("claim", "made"), ("claim", "real"), ("other", "made"),
        ("price (error, lower is better)", "made")]
    assert [r[0] for r in evidence.show("x", "other").rows] == ["other"]
    with pytest.raises(ValueError, match="at most 5"):
        evidence.show("x", *["claim"] * 6)
    arms = {row[0]: row[1:] for row in evidence.show_arms("x").rows}
    assert arms["third"] == ["1.000 ± 1.000", "-"] and "-" not in arms["new"]


def test_record_refuses_what_is_no_result() -> None:
    good = {"metric": "F", "better": "higher", "baseline": 1.0, "method": 2.0,
            "baseline_name": "a", "method_name": "b"}
    data, metadata = evidence.Record(**good)._repr_mimebundle_()
    assert "2.000" in data["text/html"]
    kept = json.loads(json.dumps(metadata))[evidence.KEY]
    assert kept["method"] == 2.0
    assert {"processor", "threads", "torch", "python"} <= kept["environment"].keys()
    with pytest.raises(ValueError, match="finite"):
        evidence.Record(**good | {"method": math.nan})
    with pytest.raises(ValueError, match="higher"):
        evidence.Record(**good | {"better": "more"})
    for arms in [("a",), ("a", "b", "F"), ("a", "b", "F", "more")]:
        with pytest.raises(ValueError, match="comparison 'c' must be"):
            evidence.Record(**good, comparisons={"c": arms})
