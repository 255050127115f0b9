"""ragd: a daemon that remembers a Discord server."""

__version__ = "0.1.0"
