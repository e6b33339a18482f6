"""psgd-bench as a user runs it: figures and their JSON, plans, and what it says of wrong input and of wrong results.

test_bench.py PATH/psgd-bench PATH/libpsgd_mpi_one_thread.so        (environment: PSGD_TEST_MPIEXEC)
"""

import json
import math
import subprocess
import sys
import unittest

from tool_case import MPIEXEC, ToolCase, run_tool

BENCH = sys.argv.pop(1)
ONE_THREAD = sys.argv.pop(1)  # an MPI library without MPI_THREAD_MULTIPLE

SHAPES = """# a small model
fc.weight 96 160
conv.weight 32 16 3 3   # 32 x 144
conv2.weight 32 16 3 3
head.weight 4 96        # too small to be compressed at rank 4
fc.bias 96
"""
COMPRESSED = {"fc.weight": (96, 160), "conv.weight": (32, 144), "conv2.weight": (32, 144)}
PLAIN_ELEMS = 4 * 96 + 96
N = sum(rows * cols for rows, cols in COMPRESSED.values())
PHASES = {"exchange_plain", "orthonormalize_q", "compute_p", "reduce_p", "orthogonalize_p", "compute_q", "reduce_q",
          "decompress"}


def run(*arguments, **options):
    """Runs psgd-bench."""
    return run_tool(BENCH, *arguments, **options)


def factor_elems(rank):
    return sum((rows + cols) * rank for rows, cols in COMPRESSED.values())


class Case(ToolCase):
    name = "psgd-bench"

    def run_it(self, *arguments, **options):
        return run(*arguments, **options)

    def setUp(self):
        super().setUp()
        self.shapes = self.write("shapes.txt", SHAPES)

    def results(self, *arguments, **options):
        """Of a run on the small model."""
        return super().results("--model", self.shapes, "--steps", 3, "--engine", "clblast", *arguments, **options)

    def check_spread(self, spread):
        self.assertEqual(set(spread), {"median", "min", "max"})
        self.assertLessEqual(0, spread["min"])
        self.assertLessEqual(spread["min"], spread["median"])
        self.assertLessEqual(spread["median"], spread["max"])

    def check_measured(self, result, rank):
        """What every rank's results must hold."""
        self.assertEqual(result["rank"], rank)
        for key in ("step_ms", "kernel_ms", "floor_ms", "kernel_floor_ms", "plain_allreduce_ms", "plain_copy_ms",
                    "exact_step_ms", "ortho_ms"):
            self.check_spread(result[key])
        self.assertEqual(set(result["phases"]), PHASES)
        for phase in result["phases"].values():
            self.check_spread(phase)
        self.assertGreater(result["step_ms"]["min"], 0)
        self.assertGreater(result["kernel_ms"]["min"], 0)
        for over, under, key in (("floor_ms", "step_ms", "floor_fraction"), ("ortho_ms", "exact_step_ms", "ortho_share"),
                                 ("kernel_floor_ms", "kernel_ms", "kernel_floor_fraction"),
                                 ("plain_allreduce_ms", "step_ms", "plain_ratio")):
            self.assertGreater(result[key], 0)
            self.assertAlmostEqual(result[key], result[over]["median"] / result[under]["median"], delta=1e-6 * result[key])
        # Factors, what is not compressed, and a vote of a few hundred bytes in each message.
        votes = result["wire_bytes"] - 4 * (factor_elems(rank) + PLAIN_ELEMS)
        self.assertIn(votes // result["messages"], range(4, 1024))
        self.assertEqual(result["bytes_n"], 4 * N)
        self.assertGreater(result["device_bytes"], 0)
        self.assertEqual(result["compressed_tensors"], len(COMPRESSED))
        self.assertEqual((result["engine"], result["fused_tensors"]), ("clblast", 0))
        self.assertEqual((result["checked_elems"], result["probed_elems"]), (N + PLAIN_ELEMS, 0))
        self.assertLess(result["deviation"], 2e-5)
        self.assertAlmostEqual(result["compression_rate"], (N + PLAIN_ELEMS) / (factor_elems(rank) + PLAIN_ELEMS), places=4)


class Measuring(Case):
    def test_two_workers_are_measured_and_the_table_says_the_same(self):
        file = self.path / "result.json"
        done = self.succeed("--model", self.shapes, "--rank", 4, "--steps", 3, "--engine", "clblast", "--ortho",
                            "--json", file, workers=2)
        result = json.loads(file.read_text())
        self.assertEqual((result["schema"], result["workers"], result["steps"], result["parameters"], result["tensors"]),
                         (1, 2, 3, N + PLAIN_ELEMS, 5))
        self.assertEqual((result["model"], result["finite"], result["error_feedback"], result["buffers"],
                          result["staging"], result["engine_asked"], result["floor_moves"]),
                         (str(self.shapes), False, True, "one", "auto", "clblast", 7))
        self.assertTrue(result["device"] and result["driver"] and result["version"])
        self.check_measured(result, 4)
        for words in ("rank 4", "%.3f" % result["step_ms"]["median"], "%.3f" % result["phases"]["reduce_q"]["max"],
                      "floor / step %.1f %%" % (100 * result["floor_fraction"]), "engine: clblast",
                      "of the step", "3 of 5 tensors compressed", "%.4f MB" % (result["wire_bytes"] / 1e6)):
            self.assertIn(words, done.stdout)

    def test_the_forms_of_the_step_have_floors_of_their_own(self):
        lazy = self.results("--finite")
        self.assertEqual((lazy["finite"], lazy["floor_moves"]), (True, 5))
        self.check_measured(lazy, 4)
        without = self.results("--error-feedback", 0)
        self.assertEqual((without["error_feedback"], without["floor_moves"]), (False, 3))
        self.check_measured(without, 4)
        self.assertEqual(lazy["device_bytes"] - without["device_bytes"] >= 4 * N, True)

    def test_half_iterations_are_checked_and_send_one_factor_each(self):
        full = self.shared_results(workers=2)
        half = self.results("--half-iterations", 1, workers=2)
        self.assertEqual((full["half_iterations"], half["half_iterations"]), (0, 1))
        self.assertEqual((full["messages"], half["messages"]), (2, 1))
        self.assertLess(half["wire_bytes"], full["wire_bytes"])
        self.assertEqual(half["checked_elems"], N + PLAIN_ELEMS)
        self.assertLess(half["deviation"], 2e-5)
        self.assertAlmostEqual(half["compression_rate"],
                               (N + PLAIN_ELEMS) / (factor_elems(4) / 2 + PLAIN_ELEMS), places=4)

    def test_factors_and_error_memory_in_16_bits_are_checked_and_cost_less(self):
        single = self.shared_results(workers=2)
        narrow = self.results("--wire", "f16", "--error-dtype", "bf16", workers=2)
        self.assertEqual((single["wire"], single["error_dtype"], narrow["wire"], narrow["error_dtype"]),
                         ("f32", "f32", "f16", "bf16"))
        self.assertLess(narrow["wire_bytes"], single["wire_bytes"])
        self.assertLess(narrow["device_bytes"], single["device_bytes"])
        self.assertEqual(narrow["checked_elems"], N + PLAIN_ELEMS)
        self.assertLess(1e-5, narrow["deviation"])  # as far as sixteen bits are, and no farther
        self.assertLess(narrow["deviation"], 16 / 256)

    def check_options(self, *arguments, shapes=None, elems=N + PLAIN_ELEMS):
        """The steps of two workers with these options are those of the reference."""
        done = self.succeed("--model", shapes or self.shapes, "--steps", 2, "--engine", "fused", *arguments, "--json", workers=2)
        result = json.loads(done.stdout)
        self.assertEqual(result["checked_elems"], elems, arguments)
        return result

    def test_gradients_in_16_bits_are_checked(self):
        for dtype, unit in (("f16", 2.0 ** -11), ("bf16", 2.0 ** -8)):
            result = self.check_options("--gradient-dtype", dtype, "--buffers", "each")
            self.assertEqual(result["gradient_dtype"], dtype)
            self.assertTrue(2e-5 < result["deviation"] < unit, result["deviation"])  # rounded, and no more than that
        self.refuse(3, "wrong results: the update of fc.weight in step 1", "--model", self.shapes, "--gradient-dtype", "bf16",
                    "--break-check", "update")
        self.refuse(3, "wrong results: the mean of head.weight", "--model", self.shapes, "--gradient-dtype", "f16",
                    "--break-check", "plain", workers=2)

    def test_missing_gradients_and_clipped_updates_are_checked(self):
        self.check_options("--absent-every", 2, "--max-norm", 0.5)
        self.check_options("--sharing", "owners", "--check-every", 1)
        self.check_options("--absent-every", 3, "--gradient-scale", 0.125, "--norm", "--seed", 7)

    def test_workers_by_node_are_checked_and_send_what_the_flat_form_does(self):
        flat = self.results(workers=3)
        self.assertEqual((flat["hierarchy"], flat["nodes"]), ("flat", 0))
        together = self.results("--hierarchy", "nodes", workers=3)
        apart = self.results("--hierarchy", "nodes", nodes=("a", "b", "a"))
        for result, nodes in ((together, 1), (apart, 2)):
            self.assertEqual((result["hierarchy"], result["nodes"], result["workers"]), ("nodes", nodes, 3))
            self.check_measured(result, 4)
            self.assertEqual(result["wire_bytes"], flat["wire_bytes"])
        table = self.succeed("--model", self.shapes, "--hierarchy", "nodes", nodes=("a", "b", "a")).stdout
        self.assertIn("2 nodes: their workers combine in memory", table)
        self.refuse(1, "process 0 says what its node is called, process 1 does not", "--model", self.shapes, "--hierarchy", "nodes",
                    nodes=("a", None))
        self.refuse(2, "--hierarchy", "--hierarchy", "tree")

    def test_a_flattened_gradient_is_checked(self):
        plan = json.loads(self.succeed("--model", self.shapes, "--plan", "--flatten", "--json").stdout)["plan"]
        side = math.ceil(math.sqrt(N + PLAIN_ELEMS))
        self.assertEqual({(row["rows"], row["cols"]) for row in plan}, {(side, side)})
        self.check_options("--flatten")
        self.check_options("--flatten", "--absent-every", 2, "--gradient-dtype", "f16")

    def test_shorter_sides_cold_starts_and_delayed_ones_are_checked(self):
        tall = self.write("tall.txt", SHAPES + "tall 200 24\n")
        elems = N + PLAIN_ELEMS + 200 * 24
        self.check_options("--orthogonalize-shorter", shapes=tall, elems=elems)
        self.check_options("--warm-start", 0, "--orthogonalize-shorter", shapes=tall, elems=elems)
        self.check_options("--warm-start", 0, "--half-iterations", 3)
        self.check_options("--start-step", 1, "--half-iterations", 1)
        plain = self.check_options("--start-step", 100)
        self.assertTrue(4 * (N + PLAIN_ELEMS) <= plain["wire_bytes"] < 4 * (N + PLAIN_ELEMS + 256))  # and the votes

    def test_a_rank_that_changes_is_checked_and_timed(self):
        result = self.check_options("--rank", 4, "--rank-before", 2)
        self.assertGreater(result["rank_change_ms"], 0)
        self.assertAlmostEqual(result["compression_rate"], (N + PLAIN_ELEMS) / (factor_elems(4) + PLAIN_ELEMS), 5)
        self.assertIn("from rank 2 to 4 by psgd_reducer_set_ranks()",
                      self.succeed("--model", self.shapes, "--steps", 2, "--rank-before", 2).stdout)

    def test_a_minimal_rate_decides_what_is_compressed(self):
        plan = json.loads(self.succeed("--model", self.shapes, "--plan", "--min-compression-rate", 8, "--json").stdout)["plan"]
        self.assertEqual([row["name"] for row in plan if row["rank"] > 0], ["fc.weight"])

    def test_views_and_ranks_of_a_file_are_checked(self):
        shapes = self.write("views.txt", "experts 4 48 32 view=4,48,32,1536,32,1\nqkv 48 144 rank=3 view=3,48,48,48,144,1\n"
                                         "hwio 3 3 16 32 view=1,32,144,0,1,32 # a comment\nemb 64 64 rank=never\nb 9\n")
        elems = 4 * 48 * 32 + 48 * 144 + 32 * 144 + 64 * 64 + 9
        plan = json.loads(self.succeed("--model", shapes, "--plan", "--json").stdout)["plan"]
        self.assertEqual([(row["batch"], row["rows"], row["cols"], row["rank"], row["copied"]) for row in plan],
                         [(4, 48, 32, 4, False), (3, 48, 48, 3, True), (1, 32, 144, 4, True), (1, 64, 64, 0, False),
                          (1, 9, 1, 0, False)])
        self.check_options(shapes=shapes, elems=elems)
        self.check_options("--half-iterations", 1, "--orthogonalize-shorter", "--rank-before", 3, shapes=shapes, elems=elems)
        for line, words in (("a 4 4 rank=0", "1:7: rank= takes"), ("a 4 4 rank=4x", "1:7: rank= takes"),
                            ("a 4 4 view=1,2", "1:7: view= takes"), ("a 4 4 view=1,4,4,0,4,1,", "1:7: view= takes"),
                            ("a 4 4 wrong=3", "1:7: of a tensor, rank= and view="), ("a rank=3", "1:3: a tensor needs dims")):
            self.refuse(2, words, "--model", self.write("wrong.txt", line))
        self.refuse(1, "its view is 2 matrices", "--model", self.write("wrong.txt", "a 4 4 view=2,4,4,16,4,1"))

    def test_a_budget_chooses_the_ranks(self):
        budget = 4 * (factor_elems(3) + PLAIN_ELEMS)
        plan = json.loads(self.succeed("--model", self.shapes, "--plan", "--rank", 8, "--byte-budget", budget, "--json").stdout)
        self.assertLessEqual(plan["payload_bytes"], budget)
        self.assertLess(budget * 0.8, plan["payload_bytes"])
        self.assertEqual(plan["payload_bytes"], 4 * plan["sent_elems"])
        self.assertEqual(plan["elems"], N + PLAIN_ELEMS)
        self.refuse(1, "config.byte_budget is 100, but a step sends at least", "--model", self.shapes, "--byte-budget", 100)

    def test_an_optimizers_step_is_timed_both_ways(self):
        result = self.results("--update", "--energy-every", 1, "--gradient-scale", 0.25, workers=2)
        self.check_spread(result["step_then_update_ms"])
        self.check_spread(result["fused_update_ms"])
        self.assertGreater(result["fused_update_ms"]["min"], 0)
        self.assertEqual((result["gradient_scale"], result["energy_every"]), (0.25, 1))
        self.assertEqual(result["checked_elems"], N + PLAIN_ELEMS)
        self.assertLess(result["deviation"], 2e-5)
        self.assertNotIn("fused_update_ms", self.shared_results())

    def test_gradients_in_buffers_of_their_own(self):
        result = self.results("--buffers", "each", "--staging", "copy", workers=2)
        self.assertEqual((result["buffers"], result["staging"]), ("each", "copy"))
        self.check_measured(result, 4)

    def test_buckets_and_a_thread_of_the_librarys_are_checked(self):
        whole = self.check_options()
        cut = self.check_options("--bucket-kb", 20)  # fc and conv; conv2, head and bias
        self.assertEqual((whole["bucket_kb"], cut["bucket_kb"], cut["progress_thread"]), (0, 20, False))
        self.assertEqual((whole["messages"], cut["messages"]), (2, 4))
        payload = 4 * (factor_elems(4) + PLAIN_ELEMS)
        self.assertEqual(cut["wire_bytes"] - payload, 2 * (whole["wire_bytes"] - payload))  # a vote in each message
        threaded = self.check_options("--bucket-kb", 1, "--progress-thread", "--absent-every", 2)
        self.assertTrue(threaded["progress_thread"])
        self.assertGreater(threaded["messages"], 4)
        self.check_options("--bucket-kb", 20, "--gradient-dtype", "f16", "--max-norm", 0.5)
        self.refuse(3, "wrong results: the update of fc.weight", "--model", self.shapes, "--bucket-kb", 20, "--break-check", "update",
                    workers=2)
        text = self.succeed("--model", self.shapes, "--steps", 1, "--bucket-kb", 20, "--progress-thread").stdout
        self.assertIn("buckets of 20 KB, and a thread of the library's\n", text)

    def test_steps_behind_and_beside_a_backward_pass_are_timed(self):
        file = self.path / "result.json"
        done = self.succeed("--model", self.shapes, "--engine", "clblast", "--steps", 4, "--bucket-kb", 20, "--backward-ms", 8,
                            "--json", file, workers=2)
        result = json.loads(file.read_text())
        self.assertEqual(result["backward_ms"], 8)
        self.assertEqual(result["checked_elems"], N + PLAIN_ELEMS)
        self.assertGreater(result["backward_alone_ms"]["min"], 8 / 4)  # as fast as it was measured, or slower
        for form in ("blocking", "overlapped"):
            self.check_spread(result[form + "_ms"])
            self.check_spread(result[form + "_network_ms"])
            self.assertGreater(result[form + "_ms"]["min"], 8 / 4)
            exposed = result[form + "_exposed_ms"]
            self.assertTrue(exposed["min"] <= exposed["median"] <= exposed["max"] < result[form + "_ms"]["max"])
            self.assertIn("%.3f" % exposed["median"], done.stdout)
        ratio = result["overlapped_exposed_ms"]["median"] / result["blocking_exposed_ms"]["median"]
        if result["exposed_ratio"] is not None:
            self.assertAlmostEqual(result["exposed_ratio"], ratio, delta=1e-5 * abs(ratio))
        self.assertIn("with a simulated backward pass of about 8 ms:", done.stdout)
        self.assertNotIn("blocking_ms", self.shared_results())

    def test_a_sweep_has_a_line_a_rank(self):
        file = self.path / "sweep.json"
        done = self.succeed("--model", self.shapes, "--ranks", "1,2,4", "--steps", 3, "--engine", "clblast", "--json", file)
        result = json.loads(file.read_text())
        self.assertNotIn("step_ms", result)
        self.assertEqual([part["rank"] for part in result["sweep"]], [1, 2, 4])
        lines = {line.split()[0]: line for line in done.stdout.splitlines() if line.strip()}
        head = result["sweep"][0]
        self.assertIn("%.3f" % head["step_ms"]["median"], lines["1"])
        for part in result["sweep"][1:]:  # at rank 1 the head is compressed too
            self.assertIn("%.3f" % part["kernel_ms"]["median"], lines[str(part["rank"])])
            self.check_measured(part, part["rank"])

    def test_where_nothing_is_compressed_there_is_no_floor(self):
        shapes = self.write("vectors.txt", "a 100\nb 2 2\n")
        done = self.succeed("--model", shapes, "--steps", 2, "--json")
        result = json.loads(done.stdout)
        self.assertEqual((result["engine"], result["bytes_n"], result["checked_elems"]), ("none", 0, 104))
        self.assertIsNone(result["floor_fraction"])
        self.assertIsNone(result["kernel_floor_fraction"])
        self.assertIn("nothing is compressed", self.succeed("--model", shapes, "--steps", 2).stdout)

    def test_the_plan_lists_every_tensor_and_runs_nothing(self):
        done = self.succeed("--model", self.shapes, "--plan", "--rank", 4, workers=2)
        rows = {line.split()[0]: line.split()[1:] for line in done.stdout.splitlines() if line.strip()}
        self.assertEqual(rows["conv.weight"][:4], ["32x144", "4", "4608", str(4 * (32 + 144))])
        self.assertEqual(rows["fc.bias"], ["96x1", "0", "96", "96", "-"])
        self.assertEqual(rows["head.weight"][1], "0")
        self.assertEqual(rows["all"][:2], [str(N + PLAIN_ELEMS), str(factor_elems(4) + PLAIN_ELEMS)])
        self.assertNotIn("median", done.stdout)
        plan = json.loads(self.succeed("--model", self.shapes, "--plan", "--json").stdout)["plan"]
        self.assertEqual([row["name"] for row in plan if row["rank"]], list(COMPRESSED))
        self.assertEqual([row["elems"] for row in plan if row["engine"] is None], [384, 96])

    def test_a_built_in_model_has_a_plan(self):
        plan = json.loads(self.succeed("--model", "resnet18", "--plan", "--json").stdout)
        self.assertEqual((plan["parameters"], plan["tensors"]), (11173962, 62))
        self.assertTrue(math.isclose(plan["compression_rate"], 72, rel_tol=0.02))


class WrongResults(Case):
    def test_a_wrong_update_is_told_and_nothing_is_timed(self):
        self.refuse(3, "wrong results: the update of fc.weight in step 1", "--model", self.shapes, "--break-check", "update")
        self.refuse(3, "wrong results: the update of fc.weight", "--model", self.shapes, "--break-check", "update", workers=2)

    def test_a_wrong_mean_is_told(self):
        self.refuse(3, "wrong results: the mean of head.weight", "--model", self.shapes, "--break-check", "plain", workers=2)

    def test_workers_that_hold_different_updates_are_told(self):
        self.refuse(3, "the workers hold different updates", "--model", self.shapes, "--break-check", "worker", workers=2)


class Refusals(Case):
    def test_help_and_version_are_printed_once(self):
        done = self.succeed("--help", workers=2)
        self.assertEqual(done.stdout.count("--error-feedback"), 1)
        self.assertNotIn("--break-check", done.stdout)
        self.assertRegex(self.succeed("--version").stdout, r"^psgd-bench \d+\.\d+\.\d+\n$")

    def test_wrong_usage_exits_with_2(self):
        self.refuse(2, "unknown option '--frobnicate'", "--frobnicate")
        self.refuse(2, "unknown option '--frobnicate'", "--frobnicate", workers=2)
        self.refuse(2, "--rank takes a whole number from 1 to 1024, not 0", "--rank", 0)
        self.refuse(2, "--ranks takes whole numbers from 1 to 1024", "--ranks", "1,,2")
        self.refuse(2, "--ranks takes whole numbers from 1 to 1024", "--ranks", "4,0")
        self.refuse(2, "exclude each other", "--ranks", "1,2", "--rank", 4)
        self.refuse(2, "--plan takes one --rank", "--ranks", "1,2", "--plan")
        self.refuse(2, "--engine takes auto|fused|clblast, not 'cublas'", "--engine", "cublas")
        self.refuse(2, "--error-feedback takes a whole number from 0 to 1", "--error-feedback", 2)
        self.refuse(2, "--absent-every 1 leaves no gradient", "--absent-every", 1)
        self.refuse(2, "--norm and --max-norm exclude each other", "--norm", "--max-norm", 1)
        self.refuse(2, "--update takes gradients in single precision", "--update", "--gradient-dtype", "f16")
        self.refuse(2, "--steps takes a whole number from 1", "--steps", 0)
        self.refuse(2, "--bucket-kb takes a whole number, not 'many'", "--bucket-kb", "many")
        self.refuse(2, "--backward-ms takes a number from 0 to 100000, not -1", "--backward-ms", -1)

    def test_an_mpi_library_without_threads_is_told(self):
        self.refuse(1, "--progress-thread needs an MPI library that may be called from any thread (MPI_THREAD_MULTIPLE)",
                    "--model", self.shapes, "--progress-thread", workers=2, environment={"LD_PRELOAD": ONE_THREAD})

    def test_an_unknown_model_names_the_known_ones(self):
        self.refuse(2, "--model takes resnet18, resnet50, lstm, gpt2 or a file; resnet51: No such file", "--model", "resnet51")

    def test_a_file_that_does_not_parse_is_told_with_line_and_column(self):
        shapes = self.write("wrong.txt", "fc.weight 96 160\nfc.bias x96\n")
        self.refuse(2, "%s:2:9: a dim is a whole number" % shapes, "--model", shapes)
        self.refuse(2, "%s:2:9: a dim is a whole number" % shapes, "--model", shapes, workers=2)

    def test_no_device_names_what_to_install(self):
        self.refuse(1, "no OpenCL device", "--model", self.shapes, environment={"OCL_ICD_VENDORS": str(self.path)})
        self.refuse(1, "no such thing", "--model", self.shapes, "--device", "no such thing", workers=2)

    def test_workers_with_different_options_or_models_do_not_start(self):
        other = self.write("other.txt", SHAPES + "more 3 4\n")
        for arguments, words in ((("--model", self.shapes, "--rank", "2"), "the options differ"),
                                 (("--model", other), "the models differ")):
            command = [MPIEXEC, "-n", "1", BENCH, "--model", self.shapes, ":", "-n", "1", BENCH, *arguments]
            done = subprocess.run(command, capture_output=True, text=True, timeout=60)
            self.assertEqual(done.returncode, 1, done.stderr)
            self.assertIn(words + " between workers", done.stderr)

    def test_a_file_that_cannot_be_written_is_told_before_anything_is_run(self):
        self.refuse(1, "cannot write", "--json", self.path / "no" / "such" / "file", "--model", self.shapes)


unittest.main(verbosity=2)
