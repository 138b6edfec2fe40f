"""What all tests share: real servers, started when a test asks for one."""

pytest_plugins = ["tests.servers.plugin"]
