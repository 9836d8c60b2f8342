"""The work sense on events of the past."""

from collections.abc import Sequence

from lineact.bundle.work import WorkSettings
from lineact.runtime.events import Begun, Event, Origin
from lineact.runtime.work.events import WorkEvent
from lineact.runtime.work.sense import WorkSense


def replay(events: Sequence[Event], settings: WorkSettings, origin: Origin) -> list[WorkEvent]:
    """What a station would have reported of events, had it known each as soon as it began.

    Args:
        events: of one camera, in any order.
        settings: the standard work.
        origin: what the reported have in common.
    """
    sense = WorkSense(settings, origin)
    told: list[WorkEvent] = []
    waiting = sorted(events, key=lambda event: event.start_s)
    going: list[Event] = []
    times_s = sorted({event.start_s for event in events} | {event.end_s for event in events})
    for at_s in times_s:
        ended = [event for event in going if event.end_s <= at_s]
        going = [event for event in going if event.end_s > at_s]
        while waiting and waiting[0].start_s <= at_s:
            going.append(waiting.pop(0))
        begun = [
            Begun(event.hand, event.action, event.start_s, event.start_utc_s, event.product, at_s) for event in going
        ]
        utc_less_media_s = (ended + going)[0].start_utc_s - (ended + going)[0].start_s
        told += sense.see(ended, begun, at_s, utc_less_media_s)
    return told + sense.close((), times_s[-1]) if times_s else []
