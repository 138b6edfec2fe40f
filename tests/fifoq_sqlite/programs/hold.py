"""
Holds a lock of a store until its standard input ends: `python hold.py PATH sqlite|turn|lock`. Prints "held".

`sqlite` is the write lock of the database, as another program would take it; the others are fifoq's own.
"""

import fcntl
import os
import sqlite3
import sys

path, kind = sys.argv[1:]
if kind == "sqlite":
    connection = sqlite3.connect(path, isolation_level=None)
    connection.execute("BEGIN IMMEDIATE")
else:
    file = os.open(f"{path}-fifoq/{kind}", os.O_RDWR)
    fcntl.flock(file, fcntl.LOCK_EX)
print("held", flush=True)
sys.stdin.read()
