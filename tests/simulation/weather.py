"""How likely what fault is, in one run."""

from __future__ import annotations

import random
from dataclasses import dataclass


@dataclass(frozen=True)
class Weather:
    """How likely each fault is, per call unless said otherwise."""

    crash: float = 0.004
    request_lost: float = 0.01
    reply_lost: float = 0.02
    message_dropped: float = 0.1
    message_doubled: float = 0.2
    message_late: float = 0.1
    poison: float = 0.02
    #: a process stops for a while before its next call, as under SIGSTOP
    stall: float = 0.006
    #: seconds between absences of Redis, on average
    away_every: float = 400.0
    rollbacks: int = 0
    goals: int = 1
    #: seconds until the faults stop
    storm: float = 600.0


CALM = Weather(0, 0, 0, 0, 0, 0, 0, 0, 1e9)


def weather(rng: random.Random) -> Weather:
    """Some runs are quiet enough for zombies to live, some are all crashes, some go back in time."""
    kind = rng.choice(("calm", "usual", "usual", "crashes", "messages", "zombies", "rollback"))
    goals = rng.choice((1, 1, 2))
    match kind:
        case "calm":
            return Weather(0.0005, 0.002, 0.005, 0.02, 0.05, 0.02, 0, 0.002, 900, goals=goals)
        case "crashes":
            return Weather(crash=0.02, goals=goals)
        case "messages":
            return Weather(message_dropped=0.4, message_doubled=0.5, message_late=0.4, goals=goals)
        case "zombies":
            return Weather(crash=0.001, stall=0.03, goals=goals)
        case "rollback":
            return Weather(rollbacks=rng.randint(1, 3), goals=goals)
    return Weather(goals=goals)
