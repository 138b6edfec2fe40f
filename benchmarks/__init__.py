"""
Benchmarks: each is run by hand, prints a table, and asserts nothing. See README.md.

Some have the name of the library that they measure. Run as a file (`python benchmarks/redis.py`), such a module would
hide the library, because Python searches the file's folder first: so this folder is taken out of the search.
"""

import sys
from pathlib import Path

_HERE = Path(__file__).resolve().parent
sys.path[:] = [folder for folder in sys.path if Path(folder).resolve() != _HERE]
