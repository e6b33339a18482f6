"""psgd-train --model lstm as a user runs it: it learns a text, says what a bigram model makes of it, goes on where it was saved, and
says what is wrong with its input.

test_train_text.py PATH/psgd-train        (environment: PSGD_TEST_MPIEXEC)
"""

import gzip
import json
import math
import pathlib
import random
import shutil
import subprocess
import tempfile
import unittest

import tool_case
import train_case

# A small model, which takes milliseconds a step.
SMALL = ("--model", "lstm", "--embedding", 16, "--hidden", 16, "--batch", 4, "--bptt", 8, "--lr", 4)


def write_text(path, sentences=1200):
    """A language that only one who remembers can speak: the word that opens a sentence closes it too, and what stands between says
    nothing of it."""
    numbers = random.Random(1)
    lines = []
    for _ in range(sentences):
        ends = "open%d" % numbers.randrange(8)
        lines.append(" ".join([ends.capitalize(), *(numbers.choice(("one", "two")) for _ in range(3)), "and", ends]) + ".\n")
    path.write_text("".join(lines))


class Case(train_case.Case):
    @classmethod
    def setUpClass(cls):
        made = tempfile.TemporaryDirectory()
        cls.addClassCleanup(made.cleanup)
        cls.text = pathlib.Path(made.name) / "text"
        write_text(cls.text)

    def train(self, *options, **others):
        return self.results(*SMALL, "--data", self.text, *options, **others)


class Learning(Case):
    def twenty_steps(self, *options):
        return self.shared_results(*SMALL, "--data", self.text, "--steps", 20, *options, workers=2)

    def test_two_workers_learn_what_a_bigram_model_cannot(self):
        file = self.path / "result.json"
        done = self.succeed(*SMALL, "--data", self.text, "--compare", "--epochs", 8, "--hidden", 32, "--test-every", 300,
                            "--json", file, workers=2)
        result = json.loads(file.read_text())
        # 8 words that open, one, two, and, a full stop; <unk> and the end of a sentence. 8 words a sentence, and its end.
        self.assertEqual([result[key] for key in ("model", "vocabulary", "train_words", "test_words")], ["lstm", 14, 1100 * 8, 100 * 8])
        self.assertEqual((result["data"], result["embedding"], result["hidden"], result["bptt"], result["tied"], result["batch"]),
                         (str(self.text), 16, 32, 8, False, 4))
        self.assertEqual(result["steps_per_epoch"], 1100 * 8 // 8 // 8)
        self.assertNotIn("train_images", result)
        # Of the 8 words of a sentence a bigram model guesses the first and the one that closes it 8 ways, what follows the first
        # 4 ways, three times 3 ways (another one or two, or the "and" behind them), and 2 ways whether a full stop follows.
        self.assertAlmostEqual(math.log(result["bigram_perplexity"]), (2 * math.log(8) + math.log(4) + 3 * math.log(3) + math.log(2)) / 8,
                               delta=0.02)
        for key in ("plain", "powersgd"):
            run = result[key]
            self.assertNotIn("accuracy", run)
            self.assertAlmostEqual(run["perplexity"], math.exp(run["test_loss"]), 4)
            # Who counts to three, but forgets how a sentence was opened, comes to 2.18; who remembers it, to 1.68.
            self.assertLess(run["perplexity"], 2.0, key)
            self.check_curve(run, "perplexity", 300, result["steps"])
        self.assertGreater(result["bytes_ratio"], 1)
        for words in ("test perplexity", "%.2f" % result["plain"]["perplexity"], "a bigram model's is %.2f" % result["bigram_perplexity"],
                      "steps of 32 words per worker", "its perplexity is"):
            self.assertIn(words, done.stdout)

    def test_tests_on_the_way_change_nothing(self):
        whole, often = (self.twenty_steps(*options)["powersgd"] for options in ((), ("--test-every", 3)))
        self.assertEqual(whole["params_hash"], often["params_hash"])
        self.check_curve(whole, "perplexity", 0, 20)
        self.check_curve(often, "perplexity", 3, 20)
        self.assertEqual(often["test_loss"], whole["test_loss"])

    def test_gzip_and_raw_texts_are_the_same_data(self):
        packed = self.path / "text.gz"
        packed.write_bytes(gzip.compress(self.text.read_bytes()))
        hashes = {self.results(*SMALL, "--steps", 5, "--data", data)["powersgd"]["params_hash"] for data in (self.text, packed)}
        self.assertEqual(len(hashes), 1)

    def test_a_tied_embedding_is_one_matrix(self):
        apart, tied = (self.twenty_steps(*options) for options in ((), ("--tied",)))
        self.assertEqual(apart["parameters"] - tied["parameters"], 14 * 16)
        self.assertTrue(tied["tied"])
        self.assertLess(tied["powersgd"]["perplexity"], 14)
        behind = self.train("--steps", 20, "--tied", "--bucket-kb", 1, "--no-overlap", workers=2)
        beside = self.train("--steps", 20, "--tied", "--bucket-kb", 1, workers=2)
        self.assertEqual(beside["powersgd"]["params_hash"], behind["powersgd"]["params_hash"])

    def test_width_multiplies_embedding_and_hidden_units(self):
        result = self.train("--steps", 2, "--width", 2, "--embedding", 5, "--hidden", 6)
        self.assertEqual((result["embedding"], result["hidden"]), (10, 12))
        self.assertEqual(result["parameters"], 14 * 10 + 48 * (10 + 12 + 1) + 48 * (12 + 12 + 1) + 14 * (12 + 1))

    def test_embedding_and_softmax_follow_the_rank_policy(self):
        rate = ("--min-compression-rate", 1, "--rank", 1)
        every, never = (self.train("--steps", 2, *rate, *options)["powersgd"] for options in (
            (), ("--tensors", "embedding.weight rank=never")))
        self.assertEqual(never["bytes_per_step"] - every["bytes_per_step"], 4 * (14 * 16 - 14 - 16))
        self.refuse(2, "the model has no tensor 'fc1.weight'; its first is 'embedding.weight'", *SMALL, "--data", self.text,
                    "--tensors", "fc1.weight rank=1")

    def test_precisions_and_fused_updates_take_it_too(self):
        runs = [self.train("--steps", 6, *options, workers=2)["powersgd"]
                for options in ((), ("--gradient-dtype", "bf16"), ("--fused-update",), ("--sharing", "owners"))]
        for run in runs[1:]:
            self.assertAlmostEqual(run["test_loss"], runs[0]["test_loss"], delta=0.05)


class Going(Case):
    """On, where it was saved."""

    def test_a_run_that_is_saved_and_resumed_ends_with_the_same_bits(self):
        path = self.path / "run"
        whole = self.train("--epochs", 1, workers=2)
        self.assertEqual(whole["steps"], 137)
        for stop in (90, 100):  # in the middle of the text, where each stream remembers
            self.train("--epochs", 1, "--stop-after", stop, "--save", path, workers=2)
            resumed = self.train("--epochs", 1, "--resume", path, workers=2)
            self.assertEqual(resumed["powersgd"]["params_hash"], whole["powersgd"]["params_hash"])
            self.assertEqual(resumed["powersgd"]["test_loss"], whole["powersgd"]["test_loss"])

    def test_an_epoch_begins_without_memory(self):
        path = self.path / "run"
        whole = self.train("--steps", 140, workers=2)
        self.train("--steps", 140, "--stop-after", 137, "--save", path, workers=2)
        resumed = self.train("--steps", 140, "--resume", path, workers=2)
        self.assertEqual(resumed["powersgd"]["params_hash"], whole["powersgd"]["params_hash"])

    def test_what_streams_remember_is_a_part_of_what_is_saved(self):
        path = self.path / "run"
        common = ("--epochs", 1, "--stop-after")
        self.train(*common, 90, "--save", path, "--save-form", "mean", workers=2)
        alone = self.train("--epochs", 1, "--resume", path)  # other streams: they begin without memory
        self.assertGreater(alone["powersgd"]["perplexity"], 1)
        saved = self.path / "run.model"
        kept = saved.read_bytes()
        states = 2 * 2 * 2 * 4 * 16  # workers, layers, h and c, streams, units
        self.assertEqual(kept[-4 * states - 16:-4 * states - 8], states.to_bytes(8, "little"))
        saved.write_bytes(kept[:-4] + bytes(4))
        self.refuse(1, "is damaged", *SMALL, "--data", self.text, "--epochs", 1, "--resume", path, workers=2)
        saved.write_bytes(kept[:-4 * states - 16])
        self.refuse(1, "is damaged", *SMALL, "--data", self.text, "--epochs", 1, "--resume", path, workers=2)
        saved.write_bytes(kept)
        self.refuse(1, "with other options", *SMALL, "--data", self.text, "--epochs", 1, "--resume", path, "--vocabulary", 50)


class Refusals(Case):
    def test_options_of_the_other_models_are_told(self):
        self.refuse(2, "--tied is of --model lstm; --model mlp takes images", "--tied")
        self.refuse(2, "--embedding 16 has to be --hidden 32", *SMALL, "--hidden", 32, "--tied", workers=2)
        self.refuse(2, "--model takes mlp|cnn|lstm, not 'gru'", "--model", "gru")

    def test_a_text_that_cannot_be_read_is_told(self):
        nowhere = self.path / "nowhere"
        self.refuse(1, "cannot open the text %s: No such file" % nowhere, *SMALL, "--data", nowhere, workers=2)
        self.refuse(1, "Is a directory", *SMALL, "--data", self.path)
        packed = self.path / "text.gz"
        packed.write_bytes(gzip.compress(self.text.read_bytes())[:-100])
        self.refuse(1, "cannot read the text %s" % packed, *SMALL, "--data", packed)
        packed.write_bytes(b"one\ntwo\x00")
        self.refuse(1, "%s is not a text" % packed, *SMALL, "--data", packed)

    def test_a_text_that_is_too_short_is_told(self):
        text = self.path / "short"
        write_text(text, 9)
        self.refuse(1, "%s has 9 lines with words, and a tenth of them is held out" % text, *SMALL, "--data", text)
        write_text(text, 10)
        self.refuse(1, "72 training words are too few for 3 workers with a batch of 4 streams each, 8 words a step", *SMALL, "--data", text,
                    workers=3)

    def test_images_are_no_text_and_a_text_no_images(self):
        self.refuse(1, "there is no train-images-idx3-ubyte", "--model", "mlp", "--data", self.text)

    def test_a_missing_bible_names_the_package(self):
        empty = self.path / "bin"
        empty.mkdir()
        (empty / "sh").symlink_to("/bin/sh")
        self.refuse(1, "install the Debian package bible-kjv", "--model", "lstm", environment={"PATH": str(empty)})

    def test_workers_that_test_at_other_times_do_not_start(self):
        done = subprocess.run(
            [tool_case.MPIEXEC, "-n", "1", train_case.TRAIN, *map(str, SMALL), "--data", self.text, "--steps", "4", ":",
             "-n", "1", train_case.TRAIN, *map(str, SMALL), "--data", self.text, "--steps", "4", "--test-every", "2"],
            capture_output=True, text=True, timeout=60)
        self.assertEqual(done.returncode, 1, done.stderr)
        self.assertIn("the options differ between workers: start all of them with the same ones", done.stderr)


@unittest.skipUnless(shutil.which("bible"), "no bible (Debian: bible-kjv)")
class Bible(Case):
    def test_it_is_what_the_package_has(self):
        result = self.results("--model", "lstm", "--embedding", 8, "--hidden", 8, "--vocabulary", 500, "--steps", 2)
        self.assertEqual((result["data"], result["vocabulary"]), ("bible-kjv", 500))
        self.assertEqual(result["train_words"] + result["test_words"], 944_708)
        again = self.path / "bible"
        verses = subprocess.run(["bible", "-f", "gen1:1-rev22:21"], capture_output=True, text=True, check=True,
                                stdin=subprocess.DEVNULL).stdout
        again.write_text("".join(line.split(" ", 1)[1] for line in verses.splitlines(True)))
        same = self.results("--model", "lstm", "--embedding", 8, "--hidden", 8, "--vocabulary", 500, "--steps", 2, "--data", again)
        self.assertEqual(same["powersgd"]["params_hash"], result["powersgd"]["params_hash"])
        self.assertEqual(same["bigram_perplexity"], result["bigram_perplexity"])


unittest.main(verbosity=2)
