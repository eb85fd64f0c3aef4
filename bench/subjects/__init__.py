"""One subject a file: `prepare(job)` fills its directory once, `measure(job)` is one repetition on a copy of that."""
