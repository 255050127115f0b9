"""What ragd's figures in BENCHMARKS.md come from: `python -m benchmarks` (= `make bench`)."""
