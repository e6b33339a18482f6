"""A table of predicted speed-ups in Markdown: scaling_table.py TITLE JSON...   (files of psgd-advise --json, a link each)"""

import json
import sys

WORKERS = (2, 4, 16, 64, 256, 1024, 4096)


def main():
    title, files = sys.argv[1], sys.argv[2:]
    print("\n%s\n\n| link, Gbit/s | %s |" % (title, " | ".join(map(str, WORKERS))))
    print("|---" * (len(WORKERS) + 1) + "|")
    for file in files:
        with open(file, encoding="utf-8") as opened:
            document = json.load(opened)
        at = {item["workers"]: item["ranks"][0]["speedup"] for item in document["predictions"]}
        print("| %g | %s |" % (document["link"]["gbps"], " | ".join("%.2f" % at[workers] for workers in WORKERS)))


if __name__ == "__main__":
    main()
