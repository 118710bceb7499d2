"""Opening encoders without what they do to the process that opens them."""

from __future__ import annotations

import os

import av


def start_encoding(container: av.container.OutputContainer) -> None:
    """Open the encoders of a container and write its header, and leave this thread scheduled as it was.

    As root, SVT-AV1 makes the thread that opens it a real-time one, for good. Such a process starves all others of its core, and waits for
    ever for a process of its own that has to share that core.
    """
    if not hasattr(os, "sched_getscheduler"):  # not of this system
        container.start_encoding()
        return
    policy, parameters = os.sched_getscheduler(0), os.sched_getparam(0)
    try:
        container.start_encoding()
    finally:
        if os.sched_getscheduler(0) != policy:
            os.sched_setscheduler(0, policy, parameters)
