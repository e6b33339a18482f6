"""psgd-train as a user runs it: real training by two workers, its figures, its JSON, and what it says of wrong input.

test_train.py PATH/psgd-train PATH/libpsgd_mpi_one_thread.so        (environment: PSGD_TEST_MPIEXEC)
"""

import gzip
import json
import pathlib
import random
import shutil
import struct
import subprocess
import sys
import tempfile
import unittest

import train_case
from tool_case import MPIEXEC
from train_case import TRAIN

ONE_THREAD = sys.argv.pop(1)  # an MPI library without MPI_THREAD_MULTIPLE
FASHION_MNIST = pathlib.Path("/usr/share/datasets/fashion-mnist")

# Tensors of the models: matrices as rows x columns, and what is never compressed.
MODELS = {
    "mlp": ([(256, 784), (128, 256), (10, 128)], 256 + 128 + 10),
    "cnn": ([(8, 25), (16, 200), (64, 784), (10, 64)], 8 + 16 + 64 + 10),
}


def sent_elems(model, rank, min_compression_rate=2.0):
    """Elements that a compressed step sends."""
    matrices, vectors = MODELS[model]
    total = vectors
    for rows, cols in matrices:
        factors = (rows + cols) * min(rank, rows, cols)
        total += factors if rank and factors * min_compression_rate < rows * cols else rows * cols
    return total


def write_idx(path, dims, values):
    path.write_bytes(struct.pack(">%dI" % (1 + len(dims)), 0x800 | len(dims), *dims) + bytes(values))


def write_dataset(directory, train=640, test=100):
    """A small data set that can be learnt: class c is bright in rows 2c and 2c + 1."""
    numbers = random.Random(1)
    for prefix, count in (("train", train), ("t10k", test)):
        labels = [numbers.randrange(10) for _ in range(count)]
        images = bytearray()
        for label in labels:
            for row in range(28):
                bright = 180 if row // 2 == label else 20
                images += bytes(bright + numbers.randrange(60) for _ in range(28))
        write_idx(directory / (prefix + "-images-idx3-ubyte"), (count, 28, 28), images)
        write_idx(directory / (prefix + "-labels-idx1-ubyte"), (count,), labels)


class Case(train_case.Case):
    @classmethod
    def setUpClass(cls):
        made = tempfile.TemporaryDirectory()
        cls.addClassCleanup(made.cleanup)
        cls.made = pathlib.Path(made.name)
        write_dataset(cls.made)

    def small(self):
        """A copy of the small data set."""
        return pathlib.Path(shutil.copytree(self.made, self.path / "small"))

    def check_run(self, result, model, rank, steps):
        """What every run must hold."""
        self.assertEqual(result["rank"], rank)
        self.assertRegex(result["params_hash"], "^[0-9a-f]{16}$")
        self.assertEqual(result["bytes_total"], result["bytes_per_step"] * steps)
        self.assertGreater(result["exchange_ms"], 0)
        self.assertGreater(result["model_ms"], 0)
        self.assertGreater(result["wait_ms"], 0)
        self.assertGreaterEqual(result["submit_ms"], 0)
        self.assertGreaterEqual(result["network_ms"], 0)
        self.assertLessEqual(result["submit_ms"] + result["wait_ms"], result["ms_per_step"])
        self.assertGreater(result["ms_per_step"], result["exchange_ms"] * 0.5)
        self.assertAlmostEqual(result["seconds"], result["ms_per_step"] * steps / 1e3, delta=1e-3 * result["seconds"])
        # The gradients or factors, and a vote of a few hundred bytes in each message.
        votes = result["bytes_per_step"] - 4 * sent_elems(model, rank)
        self.assertEqual(votes % (4 * result["messages_per_step"]), 0)
        self.assertIn(votes // result["messages_per_step"], range(4, 1024))
        return votes // result["messages_per_step"]


class Training(Case):
    def six_steps(self, *options):
        """Of two workers, as many as it takes to tell options from each other."""
        return self.shared_results("--steps", 6, *options, "--data", self.made, workers=2)

    def test_two_workers_learn_alike_with_and_without_compression(self):
        file = self.path / "result.json"
        done = self.succeed("--model", "mlp", "--compare", "--steps", 300, "--json", file, workers=2)
        result = json.loads(file.read_text())
        plain, powersgd = result["plain"], result["powersgd"]
        self.assertEqual((result["schema"], result["model"], result["workers"], result["steps"], result["rank"],
                          result["batch"], result["seed"], result["parameters"]),
                         (1, "mlp", 2, 300, 4, 32, 1, 235146))
        self.assertEqual((result["train_images"], result["test_images"]), (60000, 10000))
        self.assertEqual(result["steps_per_epoch"], 937)
        self.assertTrue(result["device"])
        self.assertGreater(plain["accuracy"], 0.80)
        self.assertGreater(powersgd["accuracy"], 0.80)
        self.assertLess(abs(plain["accuracy"] - powersgd["accuracy"]), 0.04)
        self.assertEqual(self.check_run(plain, "mlp", 0, 300), self.check_run(powersgd, "mlp", 4, 300))
        self.assertGreaterEqual(plain["bytes_per_step"], 20 * powersgd["bytes_per_step"])
        self.assertAlmostEqual(result["bytes_ratio"], plain["bytes_per_step"] / powersgd["bytes_per_step"], places=3)
        self.assertNotEqual(plain["params_hash"], powersgd["params_hash"])
        # The table says the same.
        for words in ("%.2f %%" % (100 * plain["accuracy"]), "%.2f %%" % (100 * powersgd["accuracy"]),
                      "%.4f MB" % (plain["bytes_per_step"] / 1e6), "%.4f MB" % (powersgd["bytes_per_step"] / 1e6),
                      plain["params_hash"], powersgd["params_hash"], "PowerSGD, rank 4"):
            self.assertIn(words, done.stdout)
        self.assertNotIn("\r", done.stderr)

    def test_the_convolutional_network_learns(self):
        result = self.results("--model", "cnn", "--compare", "--steps", 60, "--rank", 2, "--lr", 0.01,
                              "--data", self.small(), workers=2)
        self.assertEqual(result["parameters"], 54314)
        for key, rank in (("plain", 0), ("powersgd", 2)):
            self.check_run(result[key], "cnn", rank, 60)
            self.assertGreater(result[key]["accuracy"], 0.95)

    def test_the_same_seed_gives_the_same_bits_alone_and_in_a_comparison(self):
        data = self.small()
        both = self.results("--compare", "--steps", 12, "--data", data)
        plain = self.results("--rank", 0, "--steps", 12, "--data", data)
        powersgd = self.results("--rank", 4, "--steps", 12, "--data", data)
        other = self.results("--rank", 4, "--steps", 12, "--data", data, "--seed", 2)
        self.assertEqual(both["plain"]["params_hash"], plain["plain"]["params_hash"])
        self.assertEqual(both["powersgd"]["params_hash"], powersgd["powersgd"]["params_hash"])
        self.assertNotEqual(powersgd["powersgd"]["params_hash"], other["powersgd"]["params_hash"])
        self.assertIsNone(plain["powersgd"])
        self.assertIsNone(powersgd["plain"])
        self.assertNotIn("bytes_ratio", plain)

    def test_options_reach_the_library(self):
        data = self.small()
        late = self.results("--compare", "--steps", 10, "--start-step", 10, "--data", data)
        self.assertEqual(late["plain"]["params_hash"], late["powersgd"]["params_hash"])  # all steps were plain
        every = self.results("--rank", 8, "--min-compression-rate", 0, "--steps", 2, "--data", data)
        votes = every["powersgd"]["bytes_per_step"] - 4 * sent_elems("mlp", 8, 0.0)
        self.assertIn(votes, range(4, 4096))
        still = [self.results("--rank", 0, "--steps", steps, "--lr", 0, "--data", data) for steps in (1, 9)]
        self.assertEqual(still[0]["plain"]["params_hash"], still[1]["plain"]["params_hash"])  # nothing moves

    def test_tests_on_the_way_make_a_curve_and_change_nothing(self):
        for model in ("mlp", "cnn"):
            often, whole = (self.results("--model", model, "--lr", 0.01, "--steps", 10, "--data", self.made, *options, workers=2)
                            for options in (("--test-every", 4), ()))
            self.assertEqual((often["test_every"], whole["test_every"]), (4, 0))
            self.check_curve(often["powersgd"], "accuracy", 4, 10)
            self.check_curve(whole["powersgd"], "accuracy", 0, 10)
            for key in ("params_hash", "accuracy", "test_loss", "bytes_total"):
                self.assertEqual(often["powersgd"][key], whole["powersgd"][key], key)

    def test_a_fused_update_learns_as_well(self):
        apart, fused, again = (self.results("--steps", 30, *options, "--data", self.made, workers=2)
                               for options in ((), ("--fused-update",), ("--fused-update",)))
        self.assertTrue(fused["fused_update"])
        self.assertEqual(fused["powersgd"]["params_hash"], again["powersgd"]["params_hash"])
        self.assertAlmostEqual(fused["powersgd"]["accuracy"], apart["powersgd"]["accuracy"], delta=0.05)
        self.assertGreater(fused["powersgd"]["accuracy"], 0.5)

    def test_a_run_that_is_saved_and_resumed_ends_with_the_same_bits(self):
        path = self.path / "run"
        common = ("--steps", 12, "--data", self.made)
        whole = self.results(*common, workers=2)
        self.results(*common, "--stop-after", 7, "--save", path, "--save-every", 3, workers=2)
        self.assertEqual(sorted(file.name for file in self.path.iterdir()), ["run", "run.7.0", "run.7.1", "run.model"])
        resumed = self.results(*common, "--resume", path, "--save", path, "--save-form", "mean", workers=2)
        self.assertEqual(resumed["powersgd"]["params_hash"], whole["powersgd"]["params_hash"])
        self.assertEqual(sorted(file.name for file in self.path.iterdir()), ["run", "run.model"])
        self.refuse(1, "has come to its end", *common, "--resume", path)

    def test_a_run_goes_on_with_another_number_of_workers(self):
        path = self.path / "run"
        common = ("--steps", 40, "--data", self.made)
        self.results(*common, "--stop-after", 20, "--save", path, "--save-form", "mean", workers=2)
        alone = self.results(*common, "--resume", path)
        self.assertGreater(alone["powersgd"]["accuracy"], 0.5)
        self.refuse(1, "with other options", *common, "--lr", 0.2, "--resume", path)
        self.refuse(1, "cannot open", *common, "--resume", self.path / "absent")
        (self.path / "run.model").write_bytes((self.path / "run.model").read_bytes()[:-1])
        self.refuse(1, "is damaged", *common, "--resume", path)
        self.refuse(2, "--compare makes two runs", "--compare", "--save", path)

    def test_half_iterations_and_clipping_reach_the_library(self):
        full, half, clipped = (self.six_steps(*options) for options in ((), ("--half-iterations", 1), ("--max-norm", 1e-3)))
        self.assertLess(half["powersgd"]["bytes_per_step"], full["powersgd"]["bytes_per_step"])
        self.assertEqual(clipped["powersgd"]["bytes_per_step"], full["powersgd"]["bytes_per_step"])
        self.assertEqual(len({run["powersgd"]["params_hash"] for run in (full, half, clipped)}), 3)

    def test_precisions_reach_the_library(self):
        runs = [self.six_steps(*options)["powersgd"]
                for options in ((), ("--wire", "bf16"), ("--error-dtype", "bf16"), ("--gradient-dtype", "bf16"),
                                ("--gradient-dtype", "f16", "--loss-scale", 1024), ("--error-feedback", 0),
                                ("--warm-start", 0))]
        self.assertEqual(len({run["params_hash"] for run in runs}), 7)
        self.assertLess(runs[1]["bytes_per_step"], 0.75 * runs[0]["bytes_per_step"])

    def test_shapes_and_ranks_reach_the_library(self):
        plain, flat, shorter, budget, changed = (
            self.six_steps(*options)["powersgd"]
            for options in ((), ("--flatten",), ("--orthogonalize-shorter",), ("--rank", 32, "--byte-budget", 30000),
                            ("--new-rank", 8, "--new-rank-step", 3, "--energy-every", 1)))
        self.assertEqual(len({run["params_hash"] for run in (plain, flat, budget, changed)}), 4)
        self.assertEqual(shorter["params_hash"], plain["params_hash"])  # no weight of the mlp has more rows than columns
        self.assertLess(flat["bytes_per_step"], plain["bytes_per_step"])
        self.assertLessEqual(budget["bytes_per_step"], 30000 + 1000)  # and the votes
        self.assertLess(plain["bytes_per_step"], changed["bytes_per_step"])
        self.assertEqual(plain["captured_share"], 0)
        self.assertTrue(0 < changed["captured_share"] < 1)

    def test_settings_of_tensors_and_steps_reach_the_library(self):
        options = ((), ("--tensors", "fc1.weight rank=1; fc2.weight view=1,256,128,0,1,256"), ("--absent-every", 3),
                   ("--reset-error-every", 2), ("--engine", "clblast"), ("--finite",), ("--rule", "nesterov"),
                   ("--rule", "powersgd", "--weight-decay", 1e-3), ("--weight-decay", 1e-3))
        data = ("--data", self.made)
        plain, tensors, absent, reset, clblast, finite, nesterov, powersgd, decay = (
            self.six_steps(*chosen)["powersgd"] for chosen in options)
        self.assertEqual(finite["params_hash"], plain["params_hash"])  # the same bits by fewer passes
        owners = self.results("--steps", 6, "--sharing", "owners", "--check-every", 2, *data, workers=2)["powersgd"]
        self.assertGreater(owners["bytes_per_step"], plain["bytes_per_step"])  # the orthonormal Q travels too
        self.assertEqual(len({run["params_hash"] for run in (plain, tensors, absent, reset, clblast, nesterov, powersgd, decay)}), 8)
        self.assertLess(tensors["bytes_per_step"], plain["bytes_per_step"])
        for rule in ("nesterov", "powersgd", "heavy-ball"):
            written, fused = (self.results("--steps", 6, "--rule", rule, "--weight-decay", 1e-3, "--lr", 0.01, *chosen, *data)["powersgd"]
                              for chosen in ((), ("--fused-update",)))
            self.assertAlmostEqual(written["test_loss"], fused["test_loss"], 5)
        self.refuse(2, "the model has no tensor 'fc9.weight'", "--tensors", "fc9.weight rank=1")
        self.refuse(2, "rank= takes a whole number from 1 to 1024, or never", "--tensors", "fc1.weight rank=0")
        self.refuse(2, "--new-rank needs a --rank of at least 1", "--new-rank", 2, "--rank", 0)
        self.refuse(2, "--new-rank has to say to which", "--new-rank-step", 2)
        self.refuse(2, "--absent-every 1 leaves no gradient", "--absent-every", 1)

    def test_workers_by_node_learn_as_the_flat_form_does(self):
        flat, apart = (self.results("--steps", 6, "--data", self.made, *chosen, **where) for chosen, where in (
            ((), {"workers": 3}), (("--hierarchy", "nodes"), {"nodes": ("a", "b", "b")})))
        self.assertEqual([(result["hierarchy"], result["nodes"]) for result in (flat, apart)], [("flat", 0), ("nodes", 2)])
        self.assertGreater(apart["powersgd"]["bytes_per_step"], 0)
        self.assertEqual(apart["powersgd"]["bytes_per_step"], flat["powersgd"]["bytes_per_step"])
        self.assertAlmostEqual(apart["powersgd"]["test_loss"], flat["powersgd"]["test_loss"], 4)
        path = self.path / "run"
        self.results("--steps", 6, "--data", self.made, "--hierarchy", "nodes", "--stop-after", 3, "--save", path, nodes=("a", "b", "b"))
        rest = self.results("--steps", 6, "--data", self.made, "--hierarchy", "nodes", "--resume", path, nodes=("a", "b", "b"))
        self.assertEqual(rest["powersgd"]["params_hash"], apart["powersgd"]["params_hash"])

    def test_a_run_goes_on_behind_a_change_of_rank(self):
        common = ("--steps", 9, "--data", self.made, "--new-rank", 2, "--new-rank-step", 4)
        whole = self.results(*common, workers=2)["powersgd"]
        for stop in (4, 6):
            path = self.path / ("run%d" % stop)
            self.results(*common, "--stop-after", stop, "--save", path, workers=2)
            resumed = self.results(*common, "--resume", path, workers=2)["powersgd"]
            self.assertEqual(resumed["params_hash"], whole["params_hash"], stop)

    def test_workers_go_around_the_devices_where_there_is_a_choice(self):
        two = {"OCL_ICD_VENDORS": "pocl.icd", "POCL_DEVICES": "pthread pthread"}  # PoCL then shows its CPU twice
        arguments = ("--rank", 0, "--steps", 2, "--data", self.small())
        for device, expected in ((("--device", "cpu"), [0, 1, 0]), (("--device", "0:1"), [1, 1, 1])):
            result = self.results(*arguments, *device, workers=3, environment=two)
            self.assertEqual(result["device_indices"], expected)
            self.assertTrue(result["same_devices"])

    def test_gzip_and_raw_files_are_the_same_data(self):
        raw = self.small()
        packed = self.path / "packed"
        packed.mkdir()
        for file in raw.iterdir():
            (packed / (file.name + ".gz")).write_bytes(gzip.compress(file.read_bytes()))
        hashes = {self.results("--rank", 0, "--steps", 5, "--data", data)["plain"]["params_hash"]
                  for data in (raw, packed)}
        self.assertEqual(len(hashes), 1)


class Overlap(Case):
    """Gradients that are submitted while the backward pass goes on."""

    # From the last tensor to the first, 4 KB of gradients make a bucket of each layer of the mlp.
    BUCKETS = ("--bucket-kb", 4, "--steps", 6)

    def both(self, *options, key="powersgd"):
        """The same run with overlap and without, by two workers: bits and bytes are the same."""
        beside, behind = (self.shared_results(*self.BUCKETS, "--data", self.made, *options, *form, workers=2)
                          for form in ((), ("--no-overlap",)))
        self.assertEqual((beside["overlap"], behind["overlap"], beside["bucket_kb"]), (True, False, 4))
        for name in ("params_hash", "bytes_total", "messages_per_step", "accuracy"):
            self.assertEqual(beside[key][name], behind[key][name], (name, options))
        self.assertGreater(beside[key]["submit_ms"], 0)
        self.assertEqual(behind[key]["submit_ms"], 0)
        return beside[key]

    def test_each_bucket_sends_messages_of_its_own(self):
        whole = self.results("--bucket-kb", 0, "--steps", 6, "--data", self.made, workers=2)["powersgd"]
        cut = self.both()
        votes = self.check_run(whole, "mlp", 4, 6)
        self.assertEqual(self.check_run(cut, "mlp", 4, 6), votes)
        self.assertEqual((whole["messages_per_step"], cut["messages_per_step"]), (2, 6))
        self.assertEqual(cut["bytes_per_step"], whole["bytes_per_step"] + 4 * votes)
        default = self.results("--steps", 6, "--data", self.made, workers=2)
        self.assertEqual((default["bucket_kb"], default["powersgd"]["messages_per_step"]), (1000, 2))
        self.assertEqual(default["powersgd"]["params_hash"], whole["params_hash"])

    def test_the_plain_run_overlaps_too(self):
        whole = self.results("--bucket-kb", 0, "--steps", 6, "--rank", 0, "--data", self.made, workers=2)["plain"]
        cut = self.both("--rank", 0, key="plain")
        self.assertEqual(cut["params_hash"], whole["params_hash"])  # a mean of two is the same in any bucket
        self.assertGreater(cut["messages_per_step"], whole["messages_per_step"])

    def test_the_options_of_a_step_are_carried(self):
        hashes = {self.both(*options)["params_hash"] for options in (
            ("--fused-update", "--weight-decay", 1e-3, "--absent-every", 3),
            ("--gradient-dtype", "f16", "--loss-scale", 1024, "--new-rank", 2, "--new-rank-step", 3, "--reset-error-every", 2),
            ("--gradient-dtype", "bf16", "--fused-update", "--start-step", 3, "--max-norm", 1e-2))}
        self.assertEqual(len(hashes), 3)

    def test_the_convolutional_network_overlaps(self):
        self.both("--model", "cnn", "--lr", 0.01, "--sharing", "owners")

    def test_a_thread_of_the_librarys_gives_the_same_bits(self):
        plain = self.shared_results(*self.BUCKETS, "--data", self.made, workers=2)
        threaded = self.results(*self.BUCKETS, "--data", self.made, "--progress-thread", workers=2)
        self.assertEqual((plain["progress_thread"], threaded["progress_thread"]), (False, True))
        self.assertEqual(threaded["powersgd"]["params_hash"], plain["powersgd"]["params_hash"])

    def test_workers_may_differ_in_how_they_hand_gradients_over(self):
        common = [TRAIN, *map(str, self.BUCKETS), "--data", self.made]
        done = subprocess.run([MPIEXEC, "-n", "1", *common, "--no-overlap", "--json", ":", "-n", "1", *common, "--progress-thread"],
                              capture_output=True, text=True, timeout=120)
        self.assertEqual(done.returncode, 0, done.stderr)
        alike = self.shared_results(*self.BUCKETS, "--data", self.made, workers=2)
        self.assertEqual(json.loads(done.stdout)["powersgd"]["params_hash"], alike["powersgd"]["params_hash"])

    def test_divergence_beside_the_backward_pass_is_told_once(self):
        self.refuse(1, "diverged", "--data", self.small(), "--lr", 1000, "--steps", 200, "--bucket-kb", 4, workers=2)

    def test_the_table_names_the_form_and_its_times(self):
        file = self.path / "result.json"
        done = self.succeed(*self.BUCKETS, "--data", self.made, "--json", file, workers=2)
        run = json.loads(file.read_text())["powersgd"]
        lines = {line[:28].strip(): line[28:].split()[0] for line in done.stdout.splitlines() if len(line) > 28}
        self.assertIn("buckets of 4 KB, exchanged beside the backward pass\n", done.stdout)
        for label, key in (("model", "model_ms"), ("exchange", "exchange_ms"), ("host, submitting", "submit_ms"),
                           ("host, waiting", "wait_ms"), ("device idle for the network", "network_ms")):
            self.assertEqual(lines[label], "%.2f" % run[key])
        done = self.succeed("--bucket-kb", 0, "--no-overlap", "--progress-thread", "--steps", 2, "--data", self.made)
        self.assertIn("one bucket, exchanged in one call behind the backward pass, with a thread of the library's\n", done.stdout)

    def test_width_multiplies_what_is_hidden(self):
        for model, width, parameters in (("mlp", 3, 784 * 768 + 768 + 768 * 384 + 384 + 384 * 10 + 10),
                                         ("cnn", 2, 16 * 25 + 16 + 32 * 16 * 25 + 32 + 32 * 49 * 128 + 128 + 128 * 10 + 10)):
            arguments = ("--model", model, "--width", width, "--steps", 2, "--data", self.made)
            file = self.path / "result.json"
            done = self.succeed(*arguments, "--json", file, workers=2)
            result = json.loads(file.read_text())
            self.assertEqual((result["width"], result["parameters"]), (width, parameters))
            self.assertIn("%s, %d parameters" % (model, parameters), done.stdout)

    def test_depth_adds_hidden_layers(self):
        result = self.results("--depth", 3, "--steps", 2, "--data", self.made, workers=2)
        parameters = 784 * 256 + 256 + 256 * 128 + 128 + 2 * (128 * 128 + 128) + 128 * 10 + 10
        self.assertEqual((result["depth"], result["parameters"]), (3, parameters))
        self.refuse(2, "--depth is of --model mlp; --model cnn has the layers that it has", "--model", "cnn", "--depth", 2)
        self.refuse(2, "--depth", "--depth", 9)


class Refusals(Case):
    def test_an_mpi_library_without_threads_is_told(self):
        without = {"LD_PRELOAD": ONE_THREAD}
        self.refuse(1, "--progress-thread needs an MPI library that may be called from any thread (MPI_THREAD_MULTIPLE)",
                    "--progress-thread", "--data", self.made, environment=without)
        self.refuse(1, "MPI_THREAD_MULTIPLE", "--progress-thread", "--data", self.made, workers=2, environment=without)
        self.results("--steps", 1, "--data", self.made, workers=2, environment=without)

    def test_help_and_version_are_printed_once(self):
        done = self.succeed("--help", workers=2)
        self.assertEqual(done.stdout.count("--min-compression-rate"), 1)
        self.assertRegex(self.succeed("--version").stdout, r"^psgd-train \d+\.\d+\.\d+\n$")

    def test_wrong_usage_exits_with_2(self):
        self.refuse(2, "unknown option '--frobnicate'", "--frobnicate")
        self.refuse(2, "unknown option '--frobnicate'", "--frobnicate", workers=2)
        self.refuse(2, "--rank takes a whole number from 0 to 1024, not 1025", "--rank", 1025)
        self.refuse(2, "--lr takes a number, not 'fast'", "--lr", "fast")
        self.refuse(2, "--compare needs a --rank", "--compare", "--rank", 0)

    def test_missing_data_names_the_package(self):
        self.refuse(1, "dataset-fashion-mnist", "--data", self.path / "nowhere")
        self.refuse(1, "dataset-fashion-mnist", "--data", self.path, workers=2)

    def test_truncated_gzip_and_raw_files_are_told(self):
        data = self.small()
        images = data / "train-images-idx3-ubyte"
        whole = images.read_bytes()
        images.write_bytes(whole[:-1])
        self.refuse(1, "train-images-idx3-ubyte is truncated", "--data", data)
        images.unlink()
        packed = data / "train-images-idx3-ubyte.gz"
        for cut in (-1, -9, -5000):
            packed.write_bytes(gzip.compress(whole)[:cut])
            self.refuse(1, "train-images-idx3-ubyte.gz is truncated", "--data", data, workers=2 if cut == -9 else 0)

    def test_damaged_data_is_told(self):
        data = self.small()
        labels = data / "t10k-labels-idx1-ubyte"
        whole = labels.read_bytes()
        labels.write_bytes(whole[:-1] + b"\x0a")
        self.refuse(1, "label 99 is 10", "--data", data)
        labels.write_bytes(b"\x00\x00\x0d" + whole[3:])
        self.refuse(1, "magic number is 0x00000d01", "--data", data)
        write_idx(labels, (99,), whole[8:-1])
        self.refuse(1, "holds 100 images and t10k-labels-idx1-ubyte 99 labels", "--data", data)

    def test_no_device_names_what_to_install(self):
        data = self.small()
        self.refuse(1, "no OpenCL device", "--data", data, environment={"OCL_ICD_VENDORS": str(self.path)})
        self.refuse(1, "no such thing", "--data", data, "--device", "no such thing", workers=2)

    def test_too_few_images_for_the_workers_are_told(self):
        self.refuse(1, "640 training images are too few for 2 workers", "--data", self.small(), "--batch", 400,
                    workers=2)

    def test_divergence_is_told_once(self):
        self.refuse(1, "diverged", "--data", self.small(), "--lr", 1000, "--steps", 200, workers=2)

    def test_a_loss_scale_that_half_precision_cannot_take_is_told(self):
        self.refuse(1, "try a smaller --loss-scale", "--gradient-dtype", "f16", "--loss-scale", 1e30, "--steps", 3,
                    "--data", self.made)

    def test_workers_with_different_options_or_data_do_not_start(self):
        data = self.small()
        command = [MPIEXEC, "-n", "1", TRAIN, "--data", data, ":", "-n", "1", TRAIN, "--data", data, "--seed", "2"]
        done = subprocess.run(command, capture_output=True, text=True, timeout=60)
        self.assertEqual(done.returncode, 1, done.stderr)
        self.assertIn("the options differ between workers: start all of them with the same ones", done.stderr)
        other = self.path / "other"
        other.mkdir()
        write_dataset(other, test=101)
        command[-3:] = [other]
        done = subprocess.run(command, capture_output=True, text=True, timeout=60)
        self.assertEqual(done.returncode, 1, done.stderr)
        self.assertIn("the data differ between workers", done.stderr)

    def test_a_file_that_cannot_be_written_is_told_before_training(self):
        self.refuse(1, "cannot write", "--json", self.path / "no" / "such" / "file", "--data", self.small())


def main():
    """Runs the tests of the program that was started."""
    if not (FASHION_MNIST / "train-images-idx3-ubyte.gz").exists():
        print("skipped: no Fashion-MNIST in %s (Debian: dataset-fashion-mnist)" % FASHION_MNIST)
        sys.exit(77)
    unittest.main(verbosity=2)


if __name__ == "__main__":
    main()
