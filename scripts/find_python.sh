#!/bin/sh
# Prints a Python that can make the environment, or says in one sentence what is missing.
# PYTHON=... names one; otherwise the first of the list that is new enough and has venv.

if ! command -v git >/dev/null 2>&1; then
    echo "error: git is needed and was not found; install it with your system's package manager" >&2
    exit 1
fi

works() {
    "$1" -c 'import sys, venv, ensurepip; sys.exit(sys.version_info < (3, 11))' >/dev/null 2>&1
}

for candidate in ${PYTHON:-python3 python3.13 python3.12 python3.11 python3.14}; do
    if works "$candidate"; then
        echo "$candidate"
        exit 0
    fi
done

echo "error: Python 3.11 or newer with its venv module is needed and was not found" \
    "(Debian and Ubuntu: python3 and python3-venv); PYTHON=/path/to/python3 names another" >&2
exit 1
