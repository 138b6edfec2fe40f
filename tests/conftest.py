"""What all tests share: real servers, started when a test asks for one; and that an interrupt interrupts."""

import signal

pytest_plugins = ["tests.servers.plugin"]

# A shell has its background jobs ignore it, and the programs that tests start would inherit that.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)
