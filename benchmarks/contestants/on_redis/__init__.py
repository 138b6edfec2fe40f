"""The contestants on Redis: each enqueues and runs no-op jobs in its own best way, in processes of its own."""
