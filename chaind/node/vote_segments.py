"""Which segments of the vote log are still needed: those with a view at or above the final one."""

from chaind.storage.log import AppendLog


class VoteSegments:
    """The newest view logged in each segment of a vote log."""

    def __init__(self, log: AppendLog) -> None:
        self._log = log
        self._views: dict[int, int] = {}

    def note(self, segment: int, view: int) -> None:
        """A record of `view` stands in this segment."""
        self._views[segment] = max(view, self._views.get(segment, 0))

    def drop_below(self, final_view: int) -> None:
        """Drop whole segments below the final view; the newest one always stays."""
        newest = max(self._views, default=0)
        stale = [
            segment
            for segment, view in self._views.items()
            if view < final_view and segment < newest
        ]
        for segment in stale:
            del self._views[segment]
        if stale:
            self._log.drop_before(min(self._views))
