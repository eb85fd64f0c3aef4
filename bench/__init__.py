"""The bench: how many turns a second the store carries, beside hand-tuned sqlite3 and other conversation stores.

`python -m bench` (or `make bench`) runs it; `docs/performance.md` says what is measured and how. No test asserts a time.
"""
