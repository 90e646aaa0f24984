"""How many jobs came into a queue and how many ended, at some instants.

Nothing is counted for a job: what ended is all that came and is not there any more. As on a server,
joins and beats take the samples.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from spinach.const import COARSE_SAMPLE_MS, COARSE_SAMPLES, FINE_SAMPLE_MS, FINE_SAMPLES

if TYPE_CHECKING:
    from spinach.brokers.calls import FlowSample

__all__ = ["Flow"]

_RINGS: Final = ((FINE_SAMPLES, FINE_SAMPLE_MS), (COARSE_SAMPLES, COARSE_SAMPLE_MS))


class Flow:
    """The samples of one queue, in two rings of which each slot covers a span of the clock."""

    __slots__ = ("_rings", "purged", "revived")

    def __init__(self) -> None:
        self._rings: tuple[dict[int, FlowSample], ...] = ({}, {})
        #: Failed jobs that were run again: they came once more.
        self.revived = 0
        #: Jobs that were purged, and so did not end.
        self.purged = 0

    @property
    def samples(self) -> tuple[FlowSample, ...]:
        """All of them."""
        return tuple(sample for ring in self._rings for sample in ring.values())

    def due(self, now_ms: int) -> bool:
        """Whether a slot has no sample of this span yet."""
        return any(
            (sample := ring.get(now_ms // span_ms % count)) is None
            or sample.at_ms // span_ms != now_ms // span_ms
            for ring, (count, span_ms) in zip(self._rings, _RINGS, strict=True)
        )

    def take(self, now: FlowSample) -> None:
        """Keep a sample in each ring whose slot has none of its span yet."""
        for ring, (count, span_ms) in zip(self._rings, _RINGS, strict=True):
            slot = now.at_ms // span_ms % count
            sample = ring.get(slot)
            if sample is None or sample.at_ms // span_ms != now.at_ms // span_ms:
                ring[slot] = now
