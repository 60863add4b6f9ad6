#!/usr/bin/env bash
# Puts the newest version of this checkout into place. Workers finish the jobs in their hands on the old code.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."

git pull --ff-only
[ -x .venv/bin/python ] || python3 -m venv .venv
.venv/bin/python -m pip install --quiet --disable-pip-version-check --editable '.[redis,postgresql]'
.venv/bin/python artisan.py migrate --force
.venv/bin/python artisan.py kafka:topics --create
# Every worker finishes the job in its hand and ends; Supervisor, systemd or the container engine starts it anew.
.venv/bin/python artisan.py queue:restart
