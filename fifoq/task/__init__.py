"""One task: its definition and options, its signature, the Context of its function, and the handles of its jobs."""
