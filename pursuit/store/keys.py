"""The names of all keys in Redis. A goal, its shard's due index and its idempotency keys share one slot."""

from __future__ import annotations

from zlib import crc32

PREFIX = "pursuit:"
CONFIG = PREFIX + "config"
AUDITOR = PREFIX + "auditor"


def shard_of(name: str, shards: int) -> int:
    return crc32(name.encode()) % shards


def tag(shard: int) -> str:
    """The prefix of everything in a shard; the braces make it one cluster slot."""
    return f"{PREFIX}{{s{shard:02d}}}"


def limit(account: str) -> list[str]:
    """The governor's two keys of an account, in one slot of their own."""
    return [f"{PREFIX}limit:{{{account}}}", f"{PREFIX}limit:{{{account}}}:calls"]


class Keys:
    """Key names under a fixed number of shards."""

    def __init__(self, shards: int) -> None:
        self.shards = shards

    def goal(self, goal: str) -> str:
        return f"{tag(shard_of(goal, self.shards))}:goal:{goal}"

    def due(self, goal: str) -> str:
        return f"{tag(shard_of(goal, self.shards))}:due"

    def due_of(self, shard: int) -> str:
        return f"{tag(shard)}:due"

    def sweeper_of(self, shard: int) -> str:
        return f"{tag(shard)}:sweeper"

    def inbox_of(self, shard: int) -> str:
        return f"{tag(shard)}:inbox"

    def expiring_of(self, shard: int) -> str:
        return f"{tag(shard)}:expiring"

    def listing(self, shard: int, status: str) -> str:
        return f"{tag(shard)}:goals:{status}"

    def idempotency(self, goal: str, key: str) -> str:
        return f"{tag(shard_of(goal, self.shards))}:idempotency:{key}"

    def jobs(self, goal: str, round_number: int) -> str:
        return f"{self.goal(goal)}:jobs:{round_number}"

    def briefs(self, goal: str, round_number: int) -> str:
        return f"{self.goal(goal)}:briefs:{round_number}"

    def results(self, goal: str, round_number: int) -> str:
        return f"{self.goal(goal)}:results:{round_number}"

    def journal(self, goal: str, job: str) -> str:
        return f"{self.goal(goal)}:journal:{job}"

    def events(self, goal: str) -> str:
        return f"{self.goal(goal)}:events"

    def artifacts(self, goal: str) -> str:
        return f"{self.goal(goal)}:artifacts"

    def questions(self, goal: str) -> str:
        return f"{self.goal(goal)}:questions"

    def guidance(self, goal: str) -> str:
        return f"{self.goal(goal)}:guidance"

    def rounds(self, goal: str) -> str:
        return f"{self.goal(goal)}:rounds"

    def layers(self, goal: str) -> str:
        return f"{self.goal(goal)}:layers"

    def late(self, goal: str) -> str:
        return f"{self.goal(goal)}:late"

    def items(self, goal: str) -> str:
        return f"{self.goal(goal)}:items"

    def contracts(self, goal: str) -> str:
        return f"{self.goal(goal)}:contracts"

    def server_of(self, shard: int) -> str:
        return f"{tag(shard)}:server"
