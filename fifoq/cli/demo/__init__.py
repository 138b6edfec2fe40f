"""`fifoq demo`: real games of chess through a real server, the naive way and through fifoq, and what that proves."""
