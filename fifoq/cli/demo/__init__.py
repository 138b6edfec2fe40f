"""`fifoq demo`: recorded games of chess, played through a FastAPI server with BackgroundTasks and with fifoq."""
