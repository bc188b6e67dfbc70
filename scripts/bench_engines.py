#!/usr/bin/env python3
"""Races `stagecoach bench` against PyTorch and ONNX Runtime: images per second, fp32, same weights, same threads.

    python3 -m venv ~/bench && ~/bench/bin/pip install torch==2.15 transformers==5.23.0 onnxruntime==1.31.1 onnx numpy
    make bench-engines PYTHON=~/bench/bin/python           or: PYTHON scripts/bench_engines.py [OPTION]...

Every cell (model, threads, microbatch) is one race: each engine is a process that keeps its model loaded and waits,
blocked on its stdin, until it is told to time one forward pass. A round times each engine once, in an order that turns
from round to round; medians count. Between two engines lies a pause, so that threads of the last one that still spin
fall asleep (OpenMP's after about a millisecond; ONNX Runtime's are told to stop when a run ends).

What each engine is given:
- stagecoach: its defaults; raw bytes of images, so normalising them is inside its time and outside that of the others;
- PyTorch: transformers' ViTForImageClassification in inference mode, attention "eager" and "sdpa", the better counts;
- ONNX Runtime: the graph that torch.onnx exports, batch size fixed when the session starts, all graph optimisations,
  threads that spin within a run (its default); and the same graph fused by onnxruntime.transformers' optimizer for
  ViT; the better counts.
A variant that is more than 15 % behind its sibling after two runs leaves the race. All logits must agree to 1e-3.

Models come from `stagecoach synth`, into a folder outside the tree (--folder), about 4 GB and as much again for ONNX.
Exit status 1: some cell is below 1.0 times the better of the two, or logits differ.
"""

import argparse
import contextlib
import datetime
import json
import os
import pathlib
import platform
import statistics
import subprocess
import sys
import time

ROOT = pathlib.Path(__file__).resolve().parent.parent
CACHE = pathlib.Path(os.environ.get("XDG_CACHE_HOME", pathlib.Path.home() / ".cache"))
PAUSE = 0.1  # seconds between engines
LONG_RUN = 8  # seconds; such a run needs no second one to be warm
TOLERANCE = 1e-3  # of logits
MOST_BUSY = 0.05  # share of the machine that others may use


# ---- workers: one engine in a process of its own; a line of JSON in, a line of JSON out ----


def normalised(directory, pixels_file):
    """What the image processor would hand to the model: float32 [B][3][H][W]."""
    import numpy

    settings = json.loads((directory / "preprocessor_config.json").read_text())
    side = json.loads((directory / "config.json").read_text())["image_size"]
    pixels = numpy.fromfile(pixels_file, numpy.uint8).reshape(-1, side, side, 3)
    scaled = pixels * settings.get("rescale_factor", 1 / 255)
    values = (scaled - settings["image_mean"]) / settings["image_std"]
    return numpy.ascontiguousarray(values.transpose(0, 3, 1, 2), numpy.float32)


def load_torch(directory):
    import torch
    import transformers

    transformers.logging.set_verbosity_error()
    model = transformers.ViTForImageClassification.from_pretrained(directory, dtype=torch.float32)
    return model.eval()


class TorchEngine:
    variants = ("eager", "sdpa")

    def __init__(self, directory, threads):
        import torch

        torch.set_num_threads(threads)
        torch.set_grad_enabled(False)
        self.model = load_torch(directory)

    def runner(self, variant, pixels):
        import torch

        self.model.set_attn_implementation(variant)
        values = torch.from_numpy(pixels)

        def run():
            with torch.inference_mode():
                return self.model(pixel_values=values).logits.numpy()

        return run


class OnnxEngine:
    def __init__(self, directory, threads):
        self.threads = threads
        self.files = {path.stem: path for path in sorted(onnx_folder(directory).glob("*.onnx"))}
        self.variants = tuple(self.files)
        self.sessions = {}

    def session(self, variant, items):
        import onnxruntime

        if any(key[1] != items for key in self.sessions):
            self.sessions.clear()
        if (variant, items) not in self.sessions:
            options = onnxruntime.SessionOptions()
            options.intra_op_num_threads = self.threads
            options.inter_op_num_threads = 1
            options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_ALL
            options.add_free_dimension_override_by_name("batch", items)
            options.add_session_config_entry("session.intra_op.allow_spinning", "1")
            options.add_session_config_entry("session.force_spinning_stop", "1")
            self.sessions[variant, items] = onnxruntime.InferenceSession(
                self.files[variant], options, providers=["CPUExecutionProvider"]
            )
        return self.sessions[variant, items]

    def runner(self, variant, pixels):
        session = self.session(variant, len(pixels))
        return lambda: session.run(["logits"], {"pixels": pixels})[0]


def work(kind, directory, threads):
    engine = {"torch": TorchEngine, "onnx": OnnxEngine}[kind](directory, threads)
    print(json.dumps({"variants": engine.variants}), flush=True)
    for line in sys.stdin:
        task = json.loads(line)
        run = engine.runner(task["variant"], normalised(directory, task["pixels"]))
        start = time.perf_counter()
        logits = run()
        seconds = time.perf_counter() - start
        print(json.dumps({"seconds": seconds, "logits": logits.tolist()}), flush=True)


# ---- the ONNX form of a model, made once ----


def onnx_folder(directory):
    return directory.with_name(directory.name + "-onnx")


def export(directory):
    import torch

    model = load_torch(directory)
    model.set_attn_implementation("eager")
    side = model.config.image_size

    class Logits(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.model = model

        def forward(self, pixels):
            return self.model(pixel_values=pixels).logits

    folder = onnx_folder(directory)
    folder.mkdir(exist_ok=True)
    unfinished = folder / "exported.part"
    batch = {0: "batch"}
    torch.onnx.export(
        Logits(),
        (torch.zeros(2, 3, side, side),),
        str(unfinished),  # a Path would not do for more than 2 GB
        dynamo=False,
        opset_version=17,
        input_names=["pixels"],
        output_names=["logits"],
        dynamic_axes={"pixels": batch, "logits": batch},
    )
    unfinished.rename(folder / "exported.onnx")


def fuse(directory):
    from onnxruntime.transformers import optimizer

    settings = json.loads((directory / "config.json").read_text())
    folder = onnx_folder(directory)
    fused = optimizer.optimize_model(
        str(folder / "exported.onnx"),
        model_type="vit",
        num_heads=settings["num_attention_heads"],
        hidden_size=settings["hidden_size"],
        opt_level=0,
        use_gpu=False,
    )
    print("fused:", fused.get_fused_operator_statistics(), file=sys.stderr)
    large = (directory / "model.safetensors.index.json").exists()
    fused.save_model_to_file(str(folder / "fused.part"), use_external_data_format=large)
    (folder / "fused.part").rename(folder / "fused.onnx")


def prepare(options, name):
    directory = options.folder / name
    options.folder.mkdir(parents=True, exist_ok=True)
    if not (directory / "config.json").exists():
        subprocess.run([options.binary, "synth", name, "--seed", "1", "--out", directory], check=True)
    for step in ("export", "fuse"):
        made = onnx_folder(directory) / {"export": "exported.onnx", "fuse": "fused.onnx"}[step]
        if not made.exists():
            print(f"{name}: {step} for ONNX Runtime ...", file=sys.stderr)
            log = made.parent / f"{step}.log"
            made.parent.mkdir(exist_ok=True)
            with log.open("w") as output:
                command = [sys.executable, __file__, "--step", step, directory]
                subprocess.run(command, stdout=output, stderr=output, check=step == "export")
    return directory


def write_pixels(options, directory, items):
    """The same seeded noise for all engines."""
    import numpy

    side = json.loads((directory / "config.json").read_text())["image_size"]
    path = options.folder / f"pixels-{side}-{items}.raw"
    numpy.random.default_rng(1).integers(0, 256, items * side * side * 3, numpy.uint8).tofile(path)
    return path


# ---- the race ----


class Rival:
    """One engine's process. `ask` has it time one forward pass."""

    def __init__(self, name, command, threads):
        self.name = name
        environment = dict(os.environ, OMP_NUM_THREADS=str(threads), MKL_NUM_THREADS=str(threads))
        self.process = subprocess.Popen(
            command, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )

    def read(self):
        line = self.process.stdout.readline()
        if not line:
            sys.exit(f"bench_engines: {self.name} ended with status {self.process.wait()}")
        return json.loads(line)

    def ask(self, text):
        self.process.stdin.write(text + "\n")
        self.process.stdin.flush()
        return self.read()

    def close(self):
        self.process.stdin.close()
        self.process.wait()


class Runner:
    """One variant of one rival in one cell, and its times."""

    def __init__(self, rival, variant, text):
        self.rival, self.variant, self.text = rival, variant, text
        self.warm, self.seconds = [], []

    def run(self, times):
        time.sleep(PAUSE)
        answer = self.rival.ask(self.text)
        times.append(answer["seconds"])
        return answer["logits"]

    def median(self):
        return statistics.median(self.seconds)


def largest_difference(left, right):
    return max(abs(a - b) for row, other in zip(left, right) for a, b in zip(row, other))


def warm_up(runners):
    """Two runs each, or one if it is long; the laggards among an engine's variants leave. Returns the largest
    difference of logits."""
    first, worst = None, 0.0
    for runner in runners:
        logits = runner.run(runner.warm)
        first = first or logits
        worst = max(worst, largest_difference(first, logits))
        if runner.warm[0] < LONG_RUN:
            runner.run(runner.warm)
    for runner in list(runners):
        best = min(min(other.warm) for other in runners if other.rival is runner.rival)
        if min(runner.warm) > 1.15 * best:
            runners.remove(runner)
    return worst


def choose_rounds(options, runners):
    if options.rounds:
        return options.rounds
    round_seconds = sum(min(runner.warm) + PAUSE for runner in runners)
    least = 3 if round_seconds > 30 else 5
    return max(least, min(25, int(options.seconds / round_seconds)))


def cpu_ticks():
    """(busy, all, stolen) of the whole machine."""
    fields = [int(f) for f in pathlib.Path("/proc/stat").read_text().split("\n", 1)[0].split()[1:9]]
    return sum(fields) - fields[3] - fields[4], sum(fields), fields[7]


def own_ticks(rivals):
    total = 0
    for pid in [os.getpid()] + [rival.process.pid for rival in rivals]:
        fields = pathlib.Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
        total += int(fields[11]) + int(fields[12])
    return total


def race(options, rivals, runners, model, threads, items):
    before, own = cpu_ticks(), own_ticks(rivals)
    difference = warm_up(runners)
    rounds = choose_rounds(options, runners)
    for number in range(rounds):
        turn = number % len(runners)
        for runner in runners[turn:] + runners[:turn]:
            runner.run(runner.seconds)
    busy, ticks, stolen = (after - start for after, start in zip(cpu_ticks(), before))
    cell = {"model": model, "threads": threads, "microbatch": items, "rounds": rounds, "difference": difference}
    cell["others_share"] = max(0, busy - stolen - (own_ticks(rivals) - own)) / ticks
    cell["stolen_share"] = stolen / ticks
    cell["runs"] = [
        {"engine": r.rival.name, "variant": r.variant, "images_per_second": items / r.median(), "seconds": r.seconds}
        for r in runners
    ]
    for name in ("stagecoach", "torch", "onnx"):
        best = max((run for run in cell["runs"] if run["engine"] == name), key=lambda run: run["images_per_second"])
        cell[name], cell[name + "_variant"] = best["images_per_second"], best["variant"]
    cell["ratio"] = cell["stagecoach"] / max(cell["torch"], cell["onnx"])
    return cell


def race_cell(options, directory, workers, threads, items):
    pixels = write_pixels(options, directory, items)
    command = [options.binary, "bench", "--model", directory, "--pixels", pixels, "--prompted", "--logits"]
    command += ["--threads", str(threads), "--microbatch", str(items)]
    with contextlib.closing(Rival("stagecoach", command, threads)) as stagecoach:
        runners = [Runner(stagecoach, "", "")]
        for worker, variants in workers:
            for variant in variants:
                text = json.dumps({"variant": variant, "pixels": str(pixels)})
                runners.append(Runner(worker, variant, text))
        rivals = [stagecoach] + [worker for worker, _ in workers]
        return race(options, rivals, runners, directory.name, threads, items)


def race_model(options, directory, threads):
    """Yields the cells of one model at one number of threads."""
    with contextlib.ExitStack() as stack:
        workers = []
        for name in ("torch", "onnx"):
            command = [sys.executable, __file__, "--step", name, directory, str(threads)]
            rival = stack.enter_context(contextlib.closing(Rival(name, command, threads)))
            offered = rival.read()["variants"]
            workers.append((rival, [v for v in offered if v in options.variants] or offered))
        for items in options.microbatches:
            yield race_cell(options, directory, workers, threads, items)


# ---- the machine and the report ----


def first_line(path, fallback="unknown"):
    try:
        return pathlib.Path(path).read_text().split("\n", 1)[0].strip()
    except OSError:
        return fallback


def machine(options):
    cpu = dict(line.split(":", 1) for line in pathlib.Path("/proc/cpuinfo").read_text().splitlines() if ":" in line)
    cpu = {key.strip(): value.strip() for key, value in cpu.items()}
    flags = set(cpu.get("flags", cpu.get("Features", "")).split())
    memory = int(first_line("/proc/meminfo").split()[1]) / 2**20
    return {
        "cpu": cpu.get("model name", platform.machine()),
        "vector": [f for f in ("avx2", "fma", "avx512f", "avx512_vnni", "asimd", "sve") if f in flags],
        "cores": os.cpu_count(),
        "usable_cores": len(os.sched_getaffinity(0)),
        "memory_gib": round(memory, 1),
        "virtual": "hypervisor" in flags,
        "governor": first_line("/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor", "not visible"),
        "huge_pages": first_line("/sys/kernel/mm/transparent_hugepage/enabled"),
        "kernel": platform.release(),
        "date": datetime.datetime.now().astimezone().isoformat(timespec="seconds"),
        "load": os.getloadavg(),
        "python": platform.python_version(),
        **versions(),
        "stagecoach": output_of([options.binary, "--version"]),
        "commit": output_of(["git", "-C", ROOT, "describe", "--always", "--dirty"]),
    }


def versions():
    from importlib.metadata import version

    return {name: version(name) for name in ("torch", "transformers", "onnxruntime", "onnx", "numpy")}


def output_of(command):
    return subprocess.run(command, capture_output=True, text=True, check=False).stdout.strip()


def refuse_when_busy(options):
    busy, ticks, _ = cpu_ticks()
    time.sleep(3)
    busy_now, ticks_now, _ = cpu_ticks()
    share = (busy_now - busy) / max(1, ticks_now - ticks)
    if share <= MOST_BUSY:
        return
    text = f"this machine is busy ({100 * share:.0f} % of its processors): the numbers would mean nothing"
    if not options.busy_ok:
        sys.exit(f"bench_engines: {text}; wait, or give --busy-ok to try the script")
    print(f"bench_engines: WARNING: {text}", file=sys.stderr)


HEADER = "model      threads batch | stagecoach    torch          onnx runtime     images/s | ratio  logits   rounds others"


def row(cell):
    torch = f"{cell['torch']:8.3f} {cell['torch_variant']:5}"
    onnx = f"{cell['onnx']:8.3f} {cell['onnx_variant']:8}"
    return (
        f"{cell['model']:10} {cell['threads']:7} {cell['microbatch']:5} | {cell['stagecoach']:10.3f} {torch} {onnx}"
        f"           | {cell['ratio']:5.3f} {cell['difference']:8.1e} {cell['rounds']:4} {100 * cell['others_share']:5.1f} %"
    )


def parse():
    def words(text):
        return text.split(",")

    def numbers(text):
        return [int(word) for word in text.split(",")]

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", type=words, default=["vit-base", "vit-large", "vit-huge"])
    parser.add_argument("--threads", type=numbers, default=[1, 2])
    parser.add_argument("--microbatches", type=numbers, default=[1, 8])
    parser.add_argument("--rounds", type=int, default=0, help="default: as --seconds allow, 5 to 25 (3 for slow cells)")
    parser.add_argument("--seconds", type=float, default=60, help="aimed at for the rounds of one cell (60)")
    parser.add_argument("--variants", type=words, default=[], help="only these of eager,sdpa,exported,fused (all)")
    parser.add_argument("--folder", type=pathlib.Path, default=CACHE / "stagecoach-bench", help="of models")
    parser.add_argument("--binary", default=os.environ.get("STAGECOACH", ROOT / "build/stagecoach"))
    parser.add_argument("--json", type=pathlib.Path, help="default: engines.json in the folder")
    parser.add_argument("--busy-ok", action="store_true", help="run though others use the machine")
    parser.add_argument("--step", nargs="+", help=argparse.SUPPRESS)
    options = parser.parse_args()
    options.json = options.json or options.folder / "engines.json"
    return options


def run_step(name, directory, threads="1"):
    directory = pathlib.Path(directory)
    if name in ("export", "fuse"):
        globals()[name](directory)
    else:
        work(name, directory, int(threads))


def main():
    options = parse()
    if options.step:
        run_step(*options.step)
        return 0
    try:
        report = {"machine": machine(options), "cells": []}
    except ModuleNotFoundError as missing:
        sys.exit(f"bench_engines: {missing}; the head of {__file__} says what to install")
    for key, value in report["machine"].items():
        print(f"{key:14} {value}")
    directories = [prepare(options, name) for name in options.models]
    refuse_when_busy(options)
    print(HEADER)
    for directory in directories:
        for threads in options.threads:
            for cell in race_model(options, directory, threads):
                print(row(cell), flush=True)
                report["cells"].append(cell)
                options.json.write_text(json.dumps(report, indent=1) + "\n")
    lowest = min(cell["ratio"] for cell in report["cells"])
    difference = max(cell["difference"] for cell in report["cells"])
    print(f"lowest ratio {lowest:.3f}, largest difference of logits {difference:.1e}; all times: {options.json}")
    return 0 if lowest >= 1 and difference <= TOLERANCE else 1


if __name__ == "__main__":
    sys.exit(main())
