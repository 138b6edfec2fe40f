"""fifoq: background jobs in order."""
