"""What the Python peers share: sizes, timing, and the JSON line that every program of the suite prints.

{"workload": .., "peer": .., "threads": .., "median_s": .., "min_s": .., "extra": {..}}
`extra.other` is how many cores other processes kept busy meanwhile: near 0 on a quiet machine.
"""
import argparse, json, os, re, resource, statistics, sys, time

GEMMS = [(256,) * 3, (512,) * 3, (1024,) * 3, (2048,) * 3, (1, 1024, 1024), (32, 768, 3072), (128, 784, 512)]
SIZES = [(1, "1"), (1000, "1e3"), (100_000, "1e5"), (10_000_000, "1e7")]
# name: (batch, channels in, height = width, channels out, kernel, stride, padding, groups)
CONVS = {
    "conv_stem7x7": (32, 3, 224, 64, 7, 2, 3, 1),
    "conv3x3_c64_56": (32, 64, 56, 64, 3, 1, 1, 1),
    "conv3x3_c256_14": (32, 256, 14, 256, 3, 1, 1, 1),
    "conv_dw3x3_c144_56": (32, 144, 56, 144, 3, 1, 1, 144),
    "conv1x1_c64_c256_56": (32, 64, 56, 256, 1, 1, 0, 1),
}
LETTERS = 65
# Letters decoded, and those before them.
DECODED, BEFORE = 64, 128
TICKS = os.sysconf("SC_CLK_TCK")


def arguments():
    p = argparse.ArgumentParser()
    p.add_argument("--threads", type=int, default=1)
    p.add_argument("--only", default="", help="regular expression that finds the workloads to run")
    p.add_argument("--skip", default="^$", help="regular expression that finds those to leave out")
    p.add_argument("--budget", type=float, default=1.0, help="seconds per workload; long ones take up to four times as long")
    p.add_argument("--variant", default="", help="of the peer, such as compile; part of its name")
    return p.parse_args()


def pin(threads):
    """Keeps the process on so many of the cores that it may use; for peers whose pool follows the affinity."""
    os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:threads])


def memory_mb(field="VmRSS"):
    with open("/proc/self/status") as f:
        return round(int(re.search(field + r":\s+(\d+)", f.read())[1]) / 1024, 1)


def _others_busy():
    """Seconds of processor time that other processes have used since the machine started."""
    with open("/proc/stat") as f:
        v = list(map(int, f.readline().split()[1:9]))
    own = resource.getrusage(resource.RUSAGE_SELF)
    return (sum(v) - v[3] - v[4]) / TICKS - own.ru_utime - own.ru_stime


class Bench:
    def __init__(self, peer, args):
        self.peer, self.args, self.failures = peer + (f"-{args.variant}" if args.variant else ""), args, 0
        self.start_mb = memory_mb()

    def wants(self, *names):
        """Whether one of these workloads was asked for."""
        return any(re.search(self.args.only, n) and not re.search(self.args.skip, n) for n in names)

    def wants_pair(self, name):
        return self.wants(name + "_fwd", name + "_fwdbwd")

    def emit(self, name, median, minimum, **extra):
        print(json.dumps({"workload": name, "peer": self.peer, "threads": self.args.threads,
                          "median_s": median, "min_s": minimum, "extra": extra}), flush=True)

    def emit_memory(self, name):
        """The most memory that the process has had, and what it had when the framework was loaded."""
        self.emit("rss_" + name, 0, 0, peak_mb=memory_mb("VmHWM"), import_mb=self.start_mb)

    def run(self, name, fn, budgets=1.0, warm=3, flops=0, bytes=0):
        """Times a workload that was asked for. One that fails says so and does not stop the rest."""
        if not self.wants(name):
            return
        try:
            samples, extra = self._samples(fn, budgets * self.args.budget, warm)
        except Exception as e:
            self.failures += 1
            print(f"{name}: {type(e).__name__}: {str(e).splitlines()[0] if str(e) else ''}", file=sys.stderr)
            return
        median = statistics.median(samples)
        if flops:
            extra["gflops"] = round(flops / median / 1e9, 1)
        if bytes:
            extra["gbs"] = round(bytes / median / 1e9, 2)
        self.emit(name, median, min(samples), **extra)

    def _samples(self, fn, budget, warm):
        """As many samples as fit the budget (5 to 2000); calls under 100 us are timed in groups."""
        clock = time.perf_counter
        start, n = clock(), 0
        while n < warm or (clock() - start < 0.1 and n < 1000):
            fn()
            n += 1
        start = clock()
        fn()
        group = max(1, int(1e-4 / max(clock() - start, 1e-9)))
        samples, busy, begin = [], _others_busy(), clock()
        while len(samples) < 5 or (clock() - begin < budget and len(samples) < 2000):
            start = clock()
            for _ in range(group):
                fn()
            samples.append((clock() - start) / group)
        other = max(0.0, (_others_busy() - busy) / (clock() - begin))
        return samples, {"other": round(other, 2), "n": len(samples)}

    def finish(self):
        sys.exit(self.failures > 0)
