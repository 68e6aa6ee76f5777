"""How well what was stated agrees with what was read: the numbers that a verdict is made of.

The rule that the measurements chose (docs/decisions): the stated text's probability by the engine's own posteriors
against that of the engine's best reading, and against every text that differs from it by one look-alike character.
Never an edit distance: 己 is not 已, and one digit off is another company.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from services.ocr import ctc
from services.ocr.lookalikes import lookalikes
from services.ocr.ports import Reading, Variant

ACCEPT_RATIO = -2.0  # nats: a text this much less likely than the best reading may still be what is printed
REJECT_RATIO = -8.0  # nats: below this it is not what is printed
LOOKALIKE_MARGIN = 2.0  # nats by which a text must beat each single look-alike substitution, in every reading
MISREAD = 3.0  # nats a character: an engine without posteriors misreads about one character in twenty
UNSEEN_MARGIN = 99.0  # no look-alike of any character was seen at all
MAX_TEXT = 2000  # characters of a candidate


@dataclass(frozen=True, slots=True)
class Score:
    """``log_ratio``: log P(text) less that of the best reading, in the reading in which the text does best (0 or more:
    it is the best). ``lookalike_margin``: by how many nats the text beats its best single look-alike substitution, in
    the reading in which it does so least."""

    text: str
    log_probability: float
    log_ratio: float
    lookalike_margin: float


def score(reading: Reading, candidates: Sequence[str]) -> list[Score]:
    """Scores each candidate spelling against the reading, in their order. Costs about a millisecond each."""
    return score_variants(reading.variants, candidates)


def score_variants(variants: Sequence[Variant], candidates: Sequence[str]) -> list[Score]:
    """As ``score``, for the variants of a reading that was kept."""
    seen = list(dict.fromkeys(v.text for v in variants if v.text))
    texts = [c[:MAX_TEXT] for c in candidates]
    best_ratio = [ctc.NEVER] * len(texts)
    best_log = [ctc.NEVER] * len(texts)
    margins = [UNSEEN_MARGIN] * len(texts)
    for variant in variants:
        if not variant.text:
            continue
        if variant.frames is None:
            scored = [_without_posteriors(variant, text) for text in texts]
        else:
            scored = _with_posteriors(variant.frames, texts, seen)
        for i, (log, ratio, margin) in enumerate(scored):
            if ratio > best_ratio[i]:
                best_ratio[i], best_log[i] = ratio, log
            margins[i] = min(margins[i], margin)
    answers = []
    for i, text in enumerate(texts):
        margin = margins[i] if best_ratio[i] > ctc.NEVER else 0.0
        answers.append(Score(candidates[i], best_log[i], best_ratio[i], margin if text else 0.0))
    return answers


def _with_posteriors(
    frames: ctc.Frames, texts: Sequence[str], seen: Sequence[str]
) -> list[tuple[float, float, float]]:
    substitutes = [_substituted(text, frames) for text in texts]
    flat = [s for group in substitutes for s in group]
    logs = ctc.log_probabilities(frames, [*seen, *texts, *flat])
    best = max(logs[: len(seen)])
    answers = []
    position = len(seen) + len(texts)
    for i, group in enumerate(substitutes):
        log = logs[len(seen) + i]
        rivals = logs[position : position + len(group)]
        position += len(group)
        margin = min(log - max(rivals), UNSEEN_MARGIN) if rivals else UNSEEN_MARGIN
        answers.append((log, log - best, margin))
    return answers


def _substituted(text: str, frames: ctc.Frames) -> list[str]:
    """The text with one character replaced by each of its look-alikes that the region shows at all. A look-alike
    without measurable probability anywhere needs no scoring: it cannot come near."""
    seen = ctc.symbols_seen(frames)
    folded = ctc.strip_edges(ctc.fold(text))
    return [
        folded[:i] + other + folded[i + 1 :]
        for i, char in enumerate(folded)
        for other in lookalikes(char)
        if other in seen
    ]


def _without_posteriors(variant: Variant, text: str) -> tuple[float, float, float]:
    """An engine that gives only words: the same words score 0; other words lose ``MISREAD`` nats a differing
    character, which never accepts them, but tells a misread character from another text."""
    said, stated = ctc.strip_edges(ctc.fold(variant.text)), ctc.strip_edges(ctc.fold(text))
    if said == stated:
        return variant.log_probability, 0.0, UNSEEN_MARGIN
    loss = MISREAD * max(_distance(said, stated), 1)
    one_off = len(said) == len(stated) and sum(a != b for a, b in zip(said, stated, strict=True)) == 1
    alike = one_off and any(a != b and b in lookalikes(a) for a, b in zip(said, stated, strict=True))
    return variant.log_probability - loss, -loss, -loss if alike else UNSEEN_MARGIN


def _distance(one: str, other: str) -> int:
    """Levenshtein's distance, for telling apart, never for accepting."""
    row = list(range(len(other) + 1))
    for i, a in enumerate(one, 1):
        before, row[0] = row[0], i
        for j, b in enumerate(other, 1):
            before, row[j] = row[j], min(row[j] + 1, row[j - 1] + 1, before + (a != b))
    return row[-1]
