"""What the plotting tools share: logarithmic axes, lines with their names, as SVG that is readable on light and on dark pages."""

import math
from xml.sax.saxutils import escape

HEIGHT = 480
LEFT, RIGHT, TOP, BOTTOM = 70, 590, 54, 424  # where the axes are; to the right of them stand the names of the lines
NAMES = RIGHT + 18
LINE_GAP, LETTER = 16, 7.6                   # between names; the width of a letter, on average

# Each has a contrast of at least 3.9 to white and to black; the grey of text, of 4.5.
COLOURS = ("#2f7fc1", "#c8641b", "#2e8f62", "#b3519f", "#8a7424", "#6a6fd0", "#cc4a4a", "#5f8291")
GREY = "#767676"
FONT = "font-family=\"system-ui, 'DejaVu Sans', sans-serif\""


class LogAxis:
    """From values to positions, evenly by their logarithms."""

    def __init__(self, low, high, begin, end):
        self.low, self.high, self.begin, self.end = low, high, begin, end

    def __call__(self, value):
        span = math.log(self.high / self.low) or 1.0
        return self.begin + (self.end - self.begin) * math.log(value / self.low) / span


def nice_values(low, high):
    """1, 2 and 5 times powers of ten, from the last one at or below low to the first at or above high."""
    values = [digit * 10.0 ** power for power in range(math.floor(math.log10(low)) - 1, math.ceil(math.log10(high)) + 2)
              for digit in (1, 2, 5)]
    first = max(value for value in values if value <= low * (1 + 1e-9))
    last = min(value for value in values if value >= high * (1 - 1e-9) and value > first)
    return [value for value in values if first <= value <= last]


def text(x, y, words, anchor="start", colour=GREY, size=13, more=""):
    return '<text x="%.1f" y="%.1f" text-anchor="%s" fill="%s" font-size="%d" %s%s>%s</text>' % (
        x, y, anchor, colour, size, FONT, more, escape(words))


def rule(x1, y1, x2, y2, opacity):
    return '<line x1="%.1f" y1="%.1f" x2="%.1f" y2="%.1f" stroke="%s" stroke-opacity="%g"/>' % (
        x1, y1, x2, y2, GREY, opacity)


def spread(positions):
    """Positions of the names: as wished, but not closer than LINE_GAP, and not below the drawing."""
    order = sorted(range(len(positions)), key=lambda i: positions[i])
    placed, last = list(positions), -math.inf
    for i in order:
        placed[i] = last = max(positions[i], last + LINE_GAP)
    floor = HEIGHT - 6.0
    for i in reversed(order):
        placed[i] = floor = min(placed[i], floor)
        floor -= LINE_GAP
    return placed


def draw_lines(lines, x, y, describe):
    """Each line with its name behind it; describe(name, x value, y value) is a point's tooltip."""
    ends = [y(points[-1][1]) + 4 for points in lines.values()]
    for (name, points), colour, end in zip(lines.items(), cycle(COLOURS, len(lines)), spread(ends)):
        path = " ".join("%.1f,%.1f" % (x(at), y(value)) for at, value in points)
        yield '<polyline points="%s" fill="none" stroke="%s" stroke-width="2.2"/>' % (path, colour)
        for at, value in points:
            yield '<circle cx="%.1f" cy="%.1f" r="3.4" fill="%s"><title>%s</title></circle>' % (
                x(at), y(value), colour, escape(describe(name, at, value)))
        last_x, last_y = x(points[-1][0]), y(points[-1][1])
        yield rule(last_x + 6, last_y, NAMES - 4, end - 4, 0.6)
        yield text(NAMES, end, name, colour=colour)


def cycle(items, count):
    return [items[i % len(items)] for i in range(count)]


def begin_svg(names, title):
    width = NAMES + LETTER * max(map(len, names)) + 8
    yield '<svg xmlns="http://www.w3.org/2000/svg" width="%d" height="%d" viewBox="0 0 %d %d" role="img">' % (
        width, HEIGHT, width, HEIGHT)
    yield "<title>%s</title>" % escape(title)
