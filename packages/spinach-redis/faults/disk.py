"""What a server wrote to its append-only file, and what of it a fault made it forget.

The file says which jobs were stored, leased and ended by a part of it that was lost. So a
fault that costs confirmed writes is judged by these alone, and all other jobs as ever.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from redis import Redis

from ..tests.servers import Server

__all__ = ["Forgotten", "Mark", "drops_torn_transactions", "log_of", "whole"]


@dataclass(frozen=True, kw_only=True)
class Forgotten:
    """Stored ids of jobs, and how many writes of each kind were lost of them.

    Nothing else may happen to a job than what its lost writes explain:

    - its deposit: it may be gone;
    - a lease, or the end of one: it may start once more, or be in the failed store
      although it ran if it may not; of a lost lease the slot was free meanwhile.
    """

    stored: Counter[str] = field(default_factory=Counter)
    leased: Counter[str] = field(default_factory=Counter)
    ended: Counter[str] = field(default_factory=Counter)

    def note(self, log: bytes, start: int = 0) -> None:
        """Take down what a file says from an offset on; it ends where a command does."""
        for _, words in commands(log, start):
            name, key = words[0].upper(), words[1].partition(b"}:")[2] if words[1:] else b""
            ids = [word.decode(errors="replace") for word in words[2:]]
            if name in (b"HSET", b"HMSET") and key == b"jobs":
                self.stored.update(ids[::2])
            elif name in (b"HSET", b"HMSET") and key.startswith(b"running:"):
                self.leased.update(ids[::2])
            elif name == b"HDEL" and key.startswith(b"running:"):
                self.ended.update(ids)

    def only(self, may: Callable[[str], bool]) -> Forgotten:
        """Of jobs that may have lost something, by their stored ids."""

        def some(counts: Mapping[str, int]) -> Counter[str]:
            return Counter({each: count for each, count in counts.items() if may(each)})

        return Forgotten(stored=some(self.stored), leased=some(self.leased), ended=some(self.ended))

    @property
    def concerned(self) -> set[str]:
        """All jobs that lost something."""
        return {*self.stored, *self.leased, *self.ended}


class Mark:
    """How far the files of a server went at an instant."""

    def __init__(self, server: Server) -> None:
        self._server = server
        self._sizes = {path: path.stat().st_size for path in _logs(server)}

    def note_rest(self, forgotten: Forgotten) -> None:
        """Take down what was written since. The server is dead, and wrote all of it."""
        for path in _logs(self._server):
            log = path.read_bytes()
            # A killed server may have died in the middle of a write that nobody was told of.
            ends = whole(log, len(log))
            if ends > (start := self._sizes.get(path, 0)):
                forgotten.note(log[:ends], start)


def _logs(server: Server) -> list[Path]:
    # Before Redis 7.0 it is one file beside the others.
    return [*server.folder.glob("*/*.incr.aof"), *server.folder.glob("*.aof")]


def log_of(server: Server) -> Path:
    """The file of a server that never wrote it anew."""
    [log] = _logs(server)
    return log


def commands(log: bytes, start: int = 0) -> Iterator[tuple[int, list[bytes]]]:
    """Each command from an offset on, and the offset where it ends.

    Raises:
        ValueError: the file ends within a command.
    """
    at = start
    while at < len(log):
        head, line_end = at, log.index(b"\r\n", at)
        at, words = line_end + 2, []
        for _ in range(int(log[head + 1 : line_end])):
            line_end = log.index(b"\r\n", at)
            size = int(log[at + 1 : line_end])
            at = line_end + 2 + size + 2
            if at > len(log):
                raise ValueError(f"the file ends in the command at {head}")
            words.append(log[line_end + 2 : at - 2])
        yield at, words


def whole(log: bytes, end: int) -> int:
    """Where the last transaction, or command outside of one, ends before an offset."""
    ends, inside = 0, False
    try:
        for at, words in commands(log[:end]):
            inside = words[0].upper() == b"MULTI" or (inside and words[0].upper() != b"EXEC")
            if not inside:
                ends = at
    except ValueError:
        pass  # the offset lies within a command
    return ends


def drops_torn_transactions(client: Redis) -> bool:
    """Whether a server takes a transaction that is not whole out of its file.

    Older ones (Redis 6.2 and 7.0 and Valkey 8.1 do it) leave the torn part there when it
    ends within a command. They do not run it, but the next restart does, together with
    what was written behind it. For them the file is cut as `redis-check-aof --fix` does.
    """
    return int(client.info("server").get("valkey_version", "0").split(".")[0]) >= 9
