"""One task: its function, what may be sent to it, and the handles of its jobs."""
