"""What a running pipeline shows of itself: timelines, causes, targets, benchmarks, profiles."""
