"""Each module holds measures of one kind; `ALL` lists them in the order of the tables."""

from __future__ import annotations

from .answering import Result
from .cluster import OnCluster
from .drain import Drain, IoBound, Prefetch
from .growth import Growth
from .idle import Idle
from .imports import Imports
from .latency import FutureJobs, PickUp
from .measure import Measure, Metric
from .memory import JobBytes
from .mixed import Mixed
from .producing import BatchOfMany, OneByOne
from .pythons import Pythons
from .retries import Retries
from .roundtrip import DistantBatch, DistantDrain
from .scale import ScaleOut

__all__ = ["ALL", "Measure", "Metric"]

ALL: tuple[Measure, ...] = (
    Drain(),
    Prefetch(),
    IoBound(),
    Retries(),
    OneByOne(),
    BatchOfMany(),
    PickUp(),
    FutureJobs(),
    Result(),
    DistantDrain(),
    DistantBatch(),
    Idle(),
    JobBytes(),
    Imports(),
    Mixed(),
    ScaleOut(),
    OnCluster(),
    Growth(),
    Pythons(),
)
