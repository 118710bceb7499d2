"""Does a trained task see time, or a shortcut? The controls, the auditor, its report, and the survey of several tasks."""
