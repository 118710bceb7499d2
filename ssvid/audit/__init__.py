"""Does a trained task see time, or a shortcut? Controls, the auditor, its report, and the survey of several tasks."""
