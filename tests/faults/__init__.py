"""Every fault of the table in BENCHMARKS.md, done to a running tree: noticed, mended and told within its bound."""
