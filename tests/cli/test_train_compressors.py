"""psgd-train --compressor as a user runs it: each of the compressors that PowerSGD is compared with, by two workers.

test_train_compressors.py PATH/psgd-train PATH/libpsgd_mpi_one_thread.so        (environment: PSGD_TEST_MPIEXEC)
"""

from test_train import MODELS, Case, main
from train_case import run


class Compressors(Case):
    """--compressor: those that the paper compares PowerSGD with."""

    # What each sends of a rows x cols matrix at rank 4, in words of 32 bits, and its messages a step.
    MESSAGES = {
        "random-block": (lambda rows, cols: 4 * (rows + cols), 1),
        "random-k": (lambda rows, cols: 4 * (rows + cols), 1),
        "sign-norm": (lambda rows, cols: 1 + -(-rows * cols // 32), 2),
        "top-k": (lambda rows, cols: 4 * (rows + cols), 2),
        "signum": (lambda rows, cols: -(-rows * cols // 32), 2),
        "atomo": (lambda rows, cols: 4 * (rows + cols), 2),
        "svd": (lambda rows, cols: 4 * (rows + cols), 2),
        "unbiased": (lambda rows, cols: 4 * rows, 1),
    }

    def words(self, model, compressor):
        """All that a worker sends in a step: matrices where rank 4 sends half as much or less, the rest as it is, and a vote."""
        matrices, vectors = MODELS[model]
        compressed = [m for m in matrices if 2 * 4 * sum(m) < m[0] * m[1]]
        plain = sum(rows * cols for rows, cols in matrices if (rows, cols) not in compressed)
        return 1 + vectors + plain + sum(self.MESSAGES[compressor][0](*m) for m in compressed)

    def has_lapacke(self):
        done = run("--compressor", "svd", "--steps", 1, "--data", self.made)
        if done.returncode == 1:
            self.assertIn("--compressor svd needs LAPACKE, which this psgd-train was built without; install liblapacke-dev",
                          done.stderr)
        return done.returncode == 0

    def test_each_trains_and_sends_what_is_documented(self):
        has_lapacke = self.has_lapacke()
        for compressor, (_, messages) in self.MESSAGES.items():
            is_slow = compressor in ("atomo", "svd")
            if is_slow and not has_lapacke:
                continue
            steps = 6 if is_slow else 20
            lr = 0.002 if compressor == "unbiased" else 0.02
            with self.subTest(compressor=compressor):
                result = self.results("--compressor", compressor, "--steps", steps, "--lr", lr, "--data", self.made, workers=2)
                trained = result["powersgd"]
                self.assertEqual((result["compressor"], result["rank"], result["steps"], result["plain"]),
                                 (compressor, 4, steps, None))
                self.assertEqual(result["compressor_lr"], 0.01 * lr if compressor == "signum" else lr)
                self.assertTrue(0 < trained["test_loss"] < 2.4, trained["test_loss"])  # ln 10 = 2.303 before training
                self.assertEqual(trained["bytes_per_step"], 4 * self.words("mlp", compressor))
                self.assertEqual(trained["bytes_total"], steps * trained["bytes_per_step"])
                self.assertEqual(trained["messages_per_step"], messages)
                self.assertEqual(trained["submit_ms"], 0)
                self.assertGreater(trained["exchange_ms"], 0)
                self.assertGreater(trained["network_ms"], 0)

    def test_error_feedback_can_be_switched_off(self):
        hashes = {self.results("--compressor", "top-k", "--steps", 4, "--error-feedback", feedback, "--data", self.made,
                               workers=2)["powersgd"]["params_hash"] for feedback in (1, 0)}
        self.assertEqual(len(hashes), 2)

    def test_the_second_column_is_named_after_it(self):
        done = self.succeed("--model", "cnn", "--compressor", "random-k", "--compare", "--bucket-kb", 100, "--steps", 4,
                            "--data", self.made, workers=2)
        self.assertRegex(done.stdout, r"\n +plain all-reduce +random K *\n")
        self.assertIn("random-k, rank 4, learning rate 0.01, exchanged in one call behind the backward pass\n"
                      "plain: buckets of 100 KB, exchanged beside the backward pass\n", done.stdout)
        self.assertRegex(done.stdout, r"\nrandom K sends 1\d\.\d times fewer bytes; its accuracy is ")
        self.assertIn("%.4f MB" % (4e-6 * self.words("cnn", "random-k")), done.stdout)

    def test_the_same_seed_gives_the_same_bits_and_tensors_can_be_left_alone(self):
        arguments = ("--compressor", "random-k", "--steps", 4, "--data", self.made)
        first = self.results(*arguments, workers=2)
        self.assertEqual(self.results(*arguments, workers=2)["powersgd"]["params_hash"], first["powersgd"]["params_hash"])
        whole = self.results(*arguments, "--tensors", "fc1.weight rank=never; fc2.weight rank=1", workers=2)
        self.assertEqual(whole["powersgd"]["bytes_per_step"] - first["powersgd"]["bytes_per_step"],
                         4 * (256 * 784 - 4 * (256 + 784) - 3 * (128 + 256)))

    def test_workers_by_node_send_as_much(self):
        arguments = ("--compressor", "top-k", "--steps", 4, "--data", self.made)
        flat = self.results(*arguments, workers=2)["powersgd"]
        nodes = self.results(*arguments, "--hierarchy", "nodes", nodes=("a", "b"))["powersgd"]
        self.assertEqual(nodes["bytes_per_step"], flat["bytes_per_step"])

    def test_updates_are_clipped(self):
        hashes = {self.results("--compressor", "top-k", "--steps", 4, "--max-norm", norm, "--data", self.made,
                               workers=2)["powersgd"]["params_hash"] for norm in (0, 1e-3, 1e6)}
        self.assertEqual(len(hashes), 2)

    def test_divergence_is_told_once(self):
        self.refuse(1, "diverged", "--compressor", "unbiased", "--lr", 1000, "--steps", 100, "--data", self.made, workers=2)

    def test_what_does_not_go_with_it_is_refused(self):
        self.refuse(2, "--wire does not go with --compressor top-k", "--compressor", "top-k", "--wire", "f16", workers=2)
        self.refuse(2, "--tensors: tensor 'fc1.weight' has a view", "--compressor", "top-k", "--data", self.made, "--tensors",
                    "fc1.weight view=1,784,256,0,1,784")


if __name__ == "__main__":
    main()
