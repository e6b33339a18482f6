"""The results: a directory with one JSON file a run, named by its configuration. A file has its name when it is whole, so that a
run that was cut off leaves none."""

import contextlib
import fcntl
import json
import os
import pathlib

SCHEMA = 1
PLAN = "plan"


class Unusable(Exception):
    """The directory cannot be used; the sentence says why."""


class Store:
    def __init__(self, directory):
        self.directory = pathlib.Path(directory)

    def path(self, name):
        return self.directory / (name + ".json")

    def read(self, name):
        """What was stored by this name; None where nothing was, or nothing that is ours."""
        try:
            document = json.loads(self.path(name).read_text(encoding="utf-8"))
        except FileNotFoundError:
            return None
        except OSError as error:
            raise Unusable("%s: %s" % (self.path(name), error.strerror)) from None
        except ValueError:
            return None
        return document if isinstance(document, dict) and document.get("schema") == SCHEMA else None

    def write(self, name, document):
        path = self.path(name)
        unfinished = path.with_name(".%s.unfinished" % name)
        try:
            with open(unfinished, "w", encoding="utf-8") as file:
                file.write(json.dumps(dict(document, schema=SCHEMA), indent=1) + "\n")
                file.flush()
                os.fsync(file.fileno())
            os.replace(unfinished, path)
        except OSError as error:
            raise Unusable("%s: %s" % (path, error.strerror)) from None

    @contextlib.contextmanager
    def locked(self):
        """Two at a time would time each other, and write the same files."""
        try:
            self.directory.mkdir(parents=True, exist_ok=True)
            file = open(self.directory / "lock", "a", encoding="utf-8")
        except OSError as error:
            raise Unusable("%s: %s" % (self.directory, error.strerror)) from None
        with file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError:
                raise Unusable("%s: another tools/evidence writes its results there; wait for it, or name another "
                               "directory by --out" % self.directory) from None
            yield
