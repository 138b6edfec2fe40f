"""The names of the places at which processes are struck; `programs/points.py` has the places."""

OUTER = (
    "before claim", "in claim", "after claim", "in task", "after effect", "before settle", "in settle", "after settle",
    "before extend", "in extend", "after extend", "anywhere",
)  # fmt: skip
"""A worker's, on any store. Anywhere: the conductor kills it at a random moment."""
INNER = {"sqlite": ("before commit", "after commit", "before reply")}
"""Within a store's write, by the scheme of its URL."""
