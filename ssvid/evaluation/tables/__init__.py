"""Tables: what is compared, computing it job by job, and writing the result."""
