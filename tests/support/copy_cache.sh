#!/bin/sh
# Copies PoCL's kernel cache:  copy_cache.sh FROM TO
#
# By links where both are on one file system: there are a hundred megabytes of it after a few tests, and each process of a test has a copy.
# PoCL writes a file under another name and renames it, so that what is linked stays as it is; but build logs it extends in place.
set -u

if cp -Rl "$1" "$2" 2>/dev/null; then
    find "$2" -name build.log | while IFS= read -r log; do
        cp "$log" "$log.own" && mv "$log.own" "$log" || exit 1
    done
else
    rm -rf "$2"
    cp -R "$1" "$2"
fi
