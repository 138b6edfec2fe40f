"""Benchmarks: each is run by hand, prints a table, and asserts nothing. See README.md."""
