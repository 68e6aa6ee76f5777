"""Posteriors and scores: folding, the forward probability, keeping frames, and the look-alike margin."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from numpy.typing import NDArray

from services.ocr import ctc, scoring
from services.ocr.lookalikes import lookalikes
from services.ocr.ports import Reading, Variant

LETTERS = ["", *"己已巳ABO0（)。 ", "責"]


def posteriors(*frames: dict[str, float]) -> NDArray[np.float32]:
    """Frames by character; what is left goes to the blank."""
    rows = np.full((len(frames), len(LETTERS)), 1e-9, np.float32)
    for row, frame in zip(rows, frames, strict=True):
        for char, value in frame.items():
            row[LETTERS.index(char)] = value
        row[0] = max(1.0 - sum(frame.values()), 1e-9)
    return rows


def frames(*rows: dict[str, float]) -> ctc.Frames:
    return ctc.sparse([posteriors(*rows)], LETTERS)


def brute_force(rows: NDArray[np.float32], text: str) -> float:
    """P(text) by adding up every path of the frames that collapses to it."""
    total = 0.0
    for path in itertools.product(range(len(LETTERS)), repeat=len(rows)):
        collapsed = "".join(LETTERS[c] for c, _ in itertools.groupby(path))
        if collapsed == text:
            total += float(np.prod([rows[i, c] for i, c in enumerate(path)]))
    return total


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("（副本）", "(副本)"),
        ("ＭＡ０", "ma0"),
        ("〔2024〕12号", "[2024]12号"),
        ("买买提·艾力", "买买提•艾力"),
        ("1－2", "1—2"),
        ("100㎡", "100m2"),
        ("名  称", "名称"),
        ("責任", "责任"),
    ],
)
def test_equivalent_spellings_fold_to_one(one: str, other: str) -> None:
    assert ctc.fold(one) == ctc.fold(other)


@pytest.mark.parametrize(("one", "other"), [("己", "已"), ("0", "O"), ("2024-12", "202412"), ("乾", "干"), ("一", "-")])
def test_different_texts_stay_different(one: str, other: str) -> None:
    assert ctc.fold(one) != ctc.fold(other)


def test_edges_lose_punctuation_only() -> None:
    assert ctc.strip_edges(ctc.fold("：辽宁（沈阳），")) == "辽宁[沈阳"
    assert ctc.strip_edges(ctc.fold("-5")) == "-5"
    assert ctc.strip_edges(ctc.fold("。，")) == ""


@pytest.mark.parametrize("text", ["AB", "A", "AA", "BA", "ABA"])
def test_the_forward_probability_is_the_sum_over_all_paths(text: str) -> None:
    rows = posteriors({"A": 0.6, "B": 0.3}, {"A": 0.2, "B": 0.1}, {"B": 0.5, "A": 0.3}, {"A": 0.4})
    got = math.exp(ctc.log_probability(ctc.sparse([rows], LETTERS), text))
    assert got == pytest.approx(brute_force(rows, text), rel=0.25)


def test_a_doubled_character_needs_a_blank_between() -> None:
    once = frames({"A": 0.99}, {"A": 0.99})
    assert ctc.log_probability(once, "A") > -0.2
    assert ctc.log_probability(once, "AA") < -4
    twice = frames({"A": 0.99}, {}, {"A": 0.99})
    assert ctc.log_probability(twice, "AA") > -0.2


def test_edge_punctuation_and_spaces_are_free_but_letters_are_not() -> None:
    seen = frames({"（": 0.99}, {"A": 0.99}, {" ": 0.99}, {"B": 0.99}, {"。": 0.99})
    assert ctc.log_probability(seen, "AB") > -0.3
    assert ctc.log_probability(seen, "（AB。") > -0.3
    assert ctc.log_probability(seen, "B") < -4


def test_equivalent_spellings_share_their_probability() -> None:
    both = frames({"（": 0.01, "A": 0.98}, {"責": 0.6})
    assert ctc.log_probability(both, "A责") == pytest.approx(math.log(0.98 * 0.6), abs=0.1)


def test_lines_are_joined_with_a_break_between_equal_characters() -> None:
    line = posteriors({"A": 0.99})
    assert ctc.log_probability(ctc.sparse([line, line], LETTERS), "AA") > -0.2


def test_scores_of_many_texts_are_those_of_each() -> None:
    seen = frames({"己": 0.7, "已": 0.2}, {}, {"A": 0.9})
    texts = ["己A", "已A", "A", "", "己A己"]
    assert ctc.log_probabilities(seen, texts) == pytest.approx([ctc.log_probability(seen, t) for t in texts])


def test_frames_survive_their_bytes_exactly() -> None:
    seen = frames({"己": 0.7, "已": 0.2}, {}, {}, {"A": 0.9}, {"（": 0.4})
    kept = ctc.Frames.from_bytes(seen.to_bytes())
    assert kept.alphabet == seen.alphabet
    assert np.array_equal(kept.classes, seen.classes)
    assert ctc.log_probability(kept, "己A") == ctc.log_probability(seen, "己A")


@pytest.mark.parametrize("data", [b"", b"Y1", b"xx123", b"Y1\x00\x01\x02", frames({"A": 0.9}).to_bytes()[:-3]])
def test_damaged_frames_are_refused(data: bytes) -> None:
    with pytest.raises(ValueError, match="frames"):
        ctc.Frames.from_bytes(data)


def test_runs_of_blank_are_kept_as_one() -> None:
    sure: list[dict[str, float]] = [{} for _ in range(50)]
    assert len(frames({"A": 0.9}, *sure, {"B": 0.9})) <= 4


def test_an_unseen_character_cannot_pass() -> None:
    assert ctc.log_probability(frames({"A": 0.99}), "己") < -8
    assert ctc.log_probability(ctc.sparse([], LETTERS), "A") == ctc.NEVER


def variant(name: str, text: str, *rows: dict[str, float]) -> Variant:
    kept = frames(*rows)
    return Variant(name, text, 0.9, ctc.log_probability(kept, text), kept)


def reading(*variants: Variant) -> Reading:
    best = variants[0]
    return Reading(best.text, best.confidence, best.log_probability, variants, ())


def test_the_printed_text_is_likely_and_its_lookalike_is_not() -> None:
    seen = reading(variant("a", "己A", {"己": 0.98, "已": 0.01}, {"A": 0.99}))
    right, wrong = scoring.score(seen, ["己A", "已A"])
    assert right.log_ratio == pytest.approx(0.0, abs=0.1)
    assert right.lookalike_margin > scoring.LOOKALIKE_MARGIN
    assert wrong.log_ratio < scoring.ACCEPT_RATIO
    assert wrong.lookalike_margin < 0


def test_a_glyph_that_could_be_either_has_no_margin() -> None:
    (score,) = scoring.score(reading(variant("a", "己", {"己": 0.5, "已": 0.45})), ["己"])
    assert score.log_ratio > scoring.ACCEPT_RATIO
    assert score.lookalike_margin < scoring.LOOKALIKE_MARGIN


def test_the_best_reading_counts_for_the_ratio() -> None:
    poor = variant("poor", "B", {"B": 0.9})
    good = variant("good", "A", {"A": 0.99})
    (score,) = scoring.score(reading(poor, good), ["A"])
    assert score.log_ratio > scoring.ACCEPT_RATIO


def words(text: str, confidence: float = 0.9) -> Variant:
    return Variant("words", text, confidence, math.log(confidence), None)


def test_an_engine_without_posteriors_accepts_its_own_words_only() -> None:
    seen = reading(words("辽宁（沈阳）建设"), words("辽宁沈阳建没"))
    same, off, other = scoring.score(seen, ["辽宁(沈阳)建设", "辽宁（沈阳）建筑", "北京某某公司"])
    assert same.log_ratio == 0.0
    assert same.lookalike_margin > scoring.LOOKALIKE_MARGIN
    assert scoring.REJECT_RATIO < off.log_ratio < scoring.ACCEPT_RATIO
    assert other.log_ratio < scoring.REJECT_RATIO


def test_without_posteriors_a_reading_of_the_lookalike_takes_the_margin() -> None:
    (score,) = scoring.score(reading(words("张己"), words("张已")), ["张己"])
    assert score.lookalike_margin < 0


def test_nothing_read_says_nothing() -> None:
    empty = Reading("", 0.0, 0.0, (Variant("as-marked", "", 0.0, 0.0, None),), ())
    (score,) = scoring.score(empty, ["A"])
    assert score.log_ratio < scoring.REJECT_RATIO
    assert score.lookalike_margin == 0.0


@pytest.mark.parametrize(("one", "other"), [("己", "已"), ("淼", "森"), ("亳", "毫"), ("佘", "余"), ("嬴", "赢"), ("8", "3"), ("未", "末")])
def test_the_table_knows_the_known_lookalikes(one: str, other: str) -> None:
    assert other in lookalikes(one)
    assert one in lookalikes(other)


def test_the_table_holds_no_equivalent_spelling() -> None:
    assert all(ctc.fold(c) != ctc.fold("责") for c in lookalikes("责"))
    assert "O" not in lookalikes("0")
