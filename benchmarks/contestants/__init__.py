"""The libraries that fifoq is compared with, and fifoq itself: one interface for each store."""
