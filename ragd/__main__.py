"""`python -m ragd`: what supervisord starts the workers with."""

from __future__ import annotations

from ragd.logstream import take_log_stream

if __name__ == "__main__":
    take_log_stream()
    # only now: what an import has to complain of must reach the log
    from ragd.cli.daemon import main

    main()
