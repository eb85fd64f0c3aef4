"""One repetition of one subject in a process of its own: a job as JSON on standard input, the result on standard output."""

import gc
import importlib
import json
import sys
from dataclasses import asdict

from bench.workload import Job


def main() -> None:
    """Read the job, do it, write what came out as the last line."""
    job = Job(**json.load(sys.stdin))
    subject = importlib.import_module(f"bench.subjects.{job.subject}")
    if job.action == "prepare":
        subject.prepare(job)
        print("null")
        return
    gc.collect()
    gc.freeze()
    print(json.dumps(asdict(subject.measure(job))))


if __name__ == "__main__":
    main()
