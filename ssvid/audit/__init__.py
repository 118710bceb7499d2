"""Does a trained task see time, or a shortcut? Controls, the auditor, its report, and the survey of several tasks.

`ssvid.audit` is this room and also a call: `ssvid.audit("runs/speednet")` examines a run as `ssvid audit` does.
"""

from ssvid.callable_room import make_callable

make_callable(__name__, "ssvid.audit.audit:audit")
