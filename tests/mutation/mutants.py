"""Mutants of C text: one small change each, by operators that only ever look at one line of formatted code."""

import collections
import re

# What may be replaced by what, where blanks around it tell that it has two operands.
RELATIONS = {"<": "<=", "<=": "<", ">": ">=", ">=": ">", "==": "!=", "!=": "=="}
ARITHMETIC = {"+": "-", "-": "+", "*": "/", "/": "*", "+=": "-=", "-=": "+=", "*=": "/=", "/=": "*="}
LOGIC = {"&&": "||", "||": "&&"}
OPERATORS = (("relation", RELATIONS), ("arithmetic", ARITHMETIC), ("logic", LOGIC))

INTEGER = re.compile(r"(?<![\w.])(0[xX][0-9a-fA-F]+|\d+)([uUlL]*)(?![\w.])")
FLOAT = re.compile(r"(?<![\w.])(\d+\.\d*(?:e[+-]?\d+)?f?|\d+e[+-]?\d+f?|0x[0-9a-fA-F.]+p[+-]?\d+f?)(?![\w.])")
CONDITION = re.compile(r"\b(?:if|while) \((.*)\)(?: \{)?$")
# A declaration has a blank before the name, an assignment's left side has none.
STATEMENT = re.compile(r"\s+(?:[^\s=;]+ (?:[-+*/|&^]|<<|>>)?= [^;]*|(?!return\b|sizeof\b)[\w>.-]+\(.*\)|continue|break|"
                       r"[\w>.\[\]-]+(?:\+\+|--)|(?:\+\+|--)[\w>.\[\]-]+);$")
LITERAL = re.compile(r'//[^\n]*|/\*.*?\*/|"(?:\\.|[^"\\\n])*"|\'(?:\\.|[^\'\\\n])*\'', re.DOTALL)
DIRECTIVE = re.compile(r"\s*#\s*(?!define\b)\w+")
MACRO_HEAD = re.compile(r"\s*#\s*define\s+\w+(?:\([^)]*\))?")

Mutant = collections.namedtuple("Mutant", "path line column kind before after")


def mask(text):
    """The same text, every character where it was, with blanks for comments, literals, directives and the heads of macros."""
    def blank(match):
        return re.sub(r"[^\n]", " ", match.group(0))

    lines = LITERAL.sub(blank, text).split("\n")
    for number, line in enumerate(lines):
        if DIRECTIVE.match(line):
            lines[number] = " " * len(line)
        else:
            lines[number] = MACRO_HEAD.sub(blank, line, count=1)
    return lines


def changes_of_operators(line):
    for kind, table in OPERATORS:
        for match in re.finditer(r"(?<= )(\S+)(?= |$)", line):
            if match.group(1) in table:
                yield kind, match.start(1), match.end(1), table[match.group(1)]


def changes_of_constants(line):
    for match in INTEGER.finditer(line):
        value, suffix = int(match.group(1), 0), match.group(2)
        yield "constant", match.start(), match.end(), "%d%s" % (value + 1, suffix)
        if value > 0:
            yield "constant", match.start(), match.end(), "%d%s" % (value - 1, suffix)
    for match in FLOAT.finditer(line):
        yield "constant", match.start(), match.end(), "(%s + 1)" % match.group(1)


def changes_of_conditions(line):
    match = CONDITION.search(line)
    if match and match.group(1).count("(") == match.group(1).count(")"):
        yield "condition", match.start(1), match.end(1), "!(%s)" % match.group(1)


def changes_of_statements(line, in_macro):
    text = line.rstrip()
    if not in_macro and STATEMENT.match(text) and text.count("(") == text.count(")"):
        begin = len(text) - len(text.lstrip())
        yield "statement", begin, len(text), ";"


def mutants_of(path, text):
    """All mutants of a file, in its order."""
    lines, masked, found, in_macro = text.split("\n"), mask(text), [], False
    for number, line in enumerate(masked):
        in_macro = in_macro or lines[number].lstrip().startswith("#")
        changes = [*changes_of_operators(line), *changes_of_constants(line), *changes_of_conditions(line),
                   *changes_of_statements(line, in_macro)]
        for kind, begin, end, after in changes:
            before = lines[number]
            if kind == "condition":
                after = "!(%s)" % before[begin:end]  # literals in it as they are
            found.append(Mutant(path, number + 1, begin + 1, kind, before, before[:begin] + after + before[end:]))
        in_macro = in_macro and lines[number].endswith("\\")
    return found


def apply(mutant, text):
    lines = text.split("\n")
    assert lines[mutant.line - 1] == mutant.before
    lines[mutant.line - 1] = mutant.after
    return "\n".join(lines)
