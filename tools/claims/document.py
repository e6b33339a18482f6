"""Puts text between two markers of a Markdown file, and leaves everything else as it is."""

import os
import pathlib


class Unusable(Exception):
    """The file cannot be read or written, or has no such markers; the sentence says which."""


def markers(name):
    return "<!-- evidence %s: begin -->\n" % name, "<!-- evidence %s: end -->" % name


def between(text, name, inner):
    """The text with `inner` between the markers; None where they are not there, once each and in that order."""
    begin, end = markers(name)
    if text.count(begin) != 1 or text.count(end) != 1 or text.index(begin) > text.index(end):
        return None
    return text[:text.index(begin) + len(begin)] + "\n" + inner.strip("\n") + "\n\n" + text[text.index(end):]


def put(path, name, inner):
    path = pathlib.Path(path)
    unfinished = path.with_name(".%s.unfinished" % path.name)
    try:
        text = between(path.read_text(encoding="utf-8"), name, inner)
        if text is None:
            raise Unusable("%s: there are no lines '%s' and '%s' in this order" % (path, markers(name)[0].strip(), markers(name)[1]))
        unfinished.write_text(text, encoding="utf-8")
        os.replace(unfinished, path)
    except OSError as error:
        raise Unusable("%s: %s" % (path, error.strerror)) from None
