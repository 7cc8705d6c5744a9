"""Follow several journals at once, in one loop for all commands that do."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from typing import Callable

from imagefilter.journal.follower import Follower, Line


def follow(
    followers: Sequence[Follower],
    interval: float,
    once: bool = False,
    share: int | None = None,
    on_error: Callable[[Follower, OSError], None] | None = None,
) -> Iterator[tuple[Follower, Line] | None]:
    """Read journals for ever: return each line with its follower, and None after each pass over all journals.

    :param interval: seconds to sleep between two passes, unless a journal has more to read.
    :param once: end when each journal was read to its end.
    :param share: how many lines of a journal are read before it is another's turn; None: all that there are.
    :param on_error: gets the error of a journal that can't be read, which is tried again in the next pass.
    :raises OSError: if a journal can't be read, and there is no ``on_error``.
    """
    remaining = list(followers)
    while remaining:
        for follower in remaining:
            try:
                for line in follower.take(share, once):
                    yield follower, line
            except OSError as error:
                if on_error is None:
                    raise
                on_error(follower, error)
        yield None
        with_more = [follower for follower in followers if follower.has_more]
        if once:
            remaining = with_more
        elif not with_more:
            time.sleep(interval)
