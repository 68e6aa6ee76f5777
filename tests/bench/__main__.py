"""``make bench``: every benchmark, one after the other; ``python -m tests.bench.bench_eventlog`` and so on run one alone."""

from tests.bench import bench_eventlog, bench_recognition, bench_suite

if __name__ == "__main__":
    bench_eventlog.main()
    bench_suite.main()
    bench_recognition.main()
