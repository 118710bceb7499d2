"""Adaptive speed-up: the speediness curve, the plan, picture and sound, the page.

`ssvid.speedup` is this room and also a call: `ssvid.speedup("IN.mp4", "OUT.mp4", speed=2)` does what `ssvid speedup` does.
"""

from ssvid.callable_room import make_callable

make_callable(__name__, "ssvid.speedup.pipeline:speedup")
