"""What the core does without while memory or time is short: switches that the guards set.

They are looked at where work is slow anyway (a CONNECT, a new topic, a message that has to be queued), never once per
message of the hot path.
"""

from __future__ import annotations

from trioemqx.core.reasons import QUOTA_EXCEEDED, SERVER_BUSY


class Pressure:
    """`refuse_anonymous` and `refuse_connections` are about CONNECT, for want of memory; `late` is for want of time.

    `spare_caches`: caches replace what they hold and do not grow. `refuse_retained`: topics without a retained message
    get none. `retained_share`: retained messages are handed over in steps of one so manieth of the usual size.
    `refuse_qos0`: what would have to be queued at QoS 0 is dropped.
    """

    __slots__ = (
        "late",
        "refuse_anonymous",
        "refuse_connections",
        "refuse_qos0",
        "refuse_retained",
        "retained_share",
        "spare_caches",
    )

    def __init__(self) -> None:
        self.spare_caches = False
        self.refuse_retained = False
        self.refuse_anonymous = False
        self.refuse_connections = False
        self.late = False
        self.retained_share = 1
        self.refuse_qos0 = False

    def refusal(self) -> int:
        """The reason code for a CONNECT of anybody, 0 when it may be looked at."""
        if self.refuse_connections:
            return QUOTA_EXCEEDED
        return SERVER_BUSY if self.late else 0
