"""The contestants on Redis: each enqueues and runs no-op jobs by its own best way, in processes of its own."""
