# mulde: `make run` shows the whole product, `make test` proves it; both set up what they need.
#
# Only git, make and Python 3.11 or newer with venv are needed, and no rights beyond this folder.
#   TORCH=cuda      the build of torch for CUDA; the default on Linux is the small CPU build
#   PYTHON=...      the Python that makes the environment
#   VENV=...        where the environment lies; default .venv

VENV ?= .venv
# What is installed stays; on a new machine the CPU build, and on macOS the only one there is.
INSTALLED := $(patsubst $(VENV)/.ready-%,%,$(firstword $(wildcard $(VENV)/.ready-*)))
TORCH ?= $(or $(INSTALLED),$(if $(filter Darwin,$(shell uname -s)),plain,cpu))
ifeq ($(filter cpu cuda plain,$(TORCH)),)
$(error TORCH: expected cpu, cuda or plain, found '$(TORCH)')
endif

PY := $(VENV)/bin/python
PIP := $(PY) -m pip --disable-pip-version-check
STAMP := $(VENV)/.ready-$(TORCH)
TORCH_VERSION := $(shell sed -n 's/^torch==//p' constraints.txt)
PIP_VERSION := $(shell sed -n 's/^pip==//p' constraints.txt)

# `===` compares the whole version, so that switching builds replaces the one that is there.
ifeq ($(TORCH),cpu)
TORCH_INSTALL := --retries 2 --extra-index-url https://download.pytorch.org/whl/cpu \
	'torch==$(TORCH_VERSION)+cpu'
else
TORCH_INSTALL := 'torch===$(TORCH_VERSION)'
endif

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.PHONY: help setup run test lint check coverage torture soak reproduce accuracy bench-serving load bench-index bench-certificates bench-predict bench bench-scale bench-training bench-fit bench-growth bench-update bench-explain gpu-check bench-compression protos docs wheel lock audit sbom fuzz check-arm clean

help: ## Show this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-13s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

setup: $(STAMP) ## Make the environment in .venv with everything that run, test and check need
	@echo 'ready: $(VENV) with torch $(TORCH_VERSION) ($(TORCH))'

# A stamp names the build of torch; changing that, or a pinned version, installs again.
# setuptools warns at every editable install that it is one; pip would show that.
$(STAMP): pyproject.toml constraints.txt
	@python=$$(PYTHON='$(PYTHON)' sh scripts/find_python.sh) && \
		{ $(PIP) --version >/dev/null 2>&1 || $$python -m venv $(VENV); }
	@rm -f $(VENV)/.ready-*
	@echo "installing into $(VENV): torch $(TORCH_VERSION) ($(TORCH)), then the rest"
	@$(PIP) install --quiet 'pip==$(PIP_VERSION)'
	@$(PIP) install --quiet --constraint constraints.txt --no-deps $(TORCH_INSTALL)
	@PYTHONWARNINGS='ignore::UserWarning' \
		$(PIP) install --quiet --constraint constraints.txt --editable '.[training]' --group dev
	@touch $@

run: $(STAMP) ## Train, distil, export, serve and ask: the whole product in a few minutes
	@$(PY) -m training.demo

# Test files run side by side; each process needs about a gigabyte of memory.
TEST_JOBS ?= 2
PYTEST := $(PY) -m pytest -n $(TEST_JOBS) --dist loadfile

test: $(STAMP) ## Run the fast tests, in minutes: what a contributor runs
	@$(PYTEST) -m 'not slow and not torture'

lint: $(STAMP) ## Check style, types, the directions of imports and the generated stubs
	@$(PY) -m ruff check
	@$(PY) -m ruff format --check
	@$(PY) -m mypy
	@$(PY) -c "from importlinter.cli import lint_imports_command as main; main()"

check: lint ## All that continuous integration runs: lint, then every test but the torture forms
	@$(PYTEST)

coverage: $(STAMP) ## Run the tests and count the lines of mulde and serving that they reach: at least 95 %
	@mkdir -p build
	@$(PY) -m pytest --cov --cov-report=term-missing --timeout=900
	@$(PY) -m coverage json -q -o build/coverage.json
	@$(PY) scripts/line_coverage.py build/coverage.json

SEED ?= 1

torture: $(STAMP) ## Kill, fill, damage and flood it, at length, and print what held: SEED=1
	@MULDE_TORTURE_SEED=$(SEED) $(PY) -m pytest -q -m torture tests/torture
	@MULDE_FACT_KILLS=200 $(PY) -m pytest -q tests/mulde/storage/test_fact_store.py -k kill_9

MINUTES ?= 20

soak: $(STAMP) ## Ask, swap, cancel and kill workers at once, and check every answer: MINUTES=20
	@MULDE_SOAK_MINUTES=$(MINUTES) MULDE_TORTURE_SEED=$(SEED) \
		$(PY) -m pytest -q -m torture tests/torture/test_soak.py

SET ?= wn18rr
DATA ?= $(or $(MULDE_DATA),data)/$(SET)
RECIPE ?= models/recipes/best/$(SET)-32.toml
RUN ?= runs/$(SET)-32

reproduce: $(STAMP) ## Train teachers, Junior and baseline of a recipe from nothing, export, measure: SET=wn18rr
	@test -d '$(DATA)' || $(PY) -m mulde.cli data fetch $(SET) --out '$(DATA)'
	@$(PY) -m mulde.cli train $(RECIPE) --data '$(DATA)' --out $(RUN) --only all --jobs 2
	@$(PY) -m mulde.cli export $(RUN)/junior/best.pt --data '$(DATA)' --out $(RUN)/bundle --overwrite
	@$(PY) -m mulde.cli evaluate $(RUN)/bundle --data '$(DATA)' --split test

accuracy: $(STAMP) ## Write benchmarks/accuracy.md, .json and curves from the runs' own records
	@$(PY) -m benchmarks.accuracy page

BENCH_WORDNET := build/bench/wordnet-size
PEERS := $(VENV)-peers

$(PEERS)/.ready: pyproject.toml $(STAMP)
	@$(PY) -m venv $(PEERS)
	@$(PEERS)/bin/python -m pip install --quiet 'pip==$(PIP_VERSION)'
	@$(PEERS)/bin/python -m pip install --quiet --retries 2 \
		--extra-index-url https://download.pytorch.org/whl/cpu 'torch==$(TORCH_VERSION)+cpu'
	@$(PEERS)/bin/python -m pip install --quiet --group peers
	@touch $@

$(BENCH_WORDNET)/manifest.json: | $(STAMP)
	@mkdir -p $(dir $(BENCH_WORDNET))
	@$(PY) -m benchmarks.synthetic $(BENCH_WORDNET) --entities 116650 --relations 18 --dimension 32 --bundle

bench-serving: $(STAMP) $(PEERS)/.ready $(BENCH_WORDNET)/manifest.json ## Measure the server beside bare products and peers, and write benchmarks/serving.md: FORMER=checkout of an earlier version
	@$(PY) -m benchmarks.serving measure models/wn18rr-32 --peers $(PEERS)/bin/python
	@$(PY) -m benchmarks.serving measure $(BENCH_WORDNET) --peers $(PEERS)/bin/python
	@if [ -n '$(FORMER)' ]; then $(PY) -m benchmarks.former models/wn18rr-32 '$(FORMER)'; fi
	@$(PY) -m benchmarks.search build build/bench/names
	@$(PY) -m benchmarks.search measure build/bench/names
	@$(PY) -m benchmarks.serving page

load: $(STAMP) $(BENCH_WORDNET)/manifest.json ## Ask up to twice what the server can answer, and write benchmarks/load.md
	@$(PY) -m benchmarks.load measure models/wn18rr-32
	@$(PY) -m benchmarks.load measure $(BENCH_WORDNET)
	@$(PY) -m benchmarks.load page

bench-index: $(STAMP) $(PEERS)/.ready $(BENCH_WORDNET)/manifest.json ## Measure every kind of index beside peers and limits, and write benchmarks/index.md
	@$(PY) -m benchmarks.index measure models/wn18rr-32 --peers $(PEERS)/bin/python
	@$(PY) -m benchmarks.index measure $(BENCH_WORDNET) --peers $(PEERS)/bin/python
	@$(PY) -m benchmarks.index page

bench-certificates: $(STAMP) ## Count how often each kind of index is certain, and write benchmarks/certificates.md
	@for bundle in models/*/manifest.json; do \
		$(PY) -m benchmarks.certificates measure "$${bundle%/manifest.json}" || exit 1; \
	done
	@$(PY) -m benchmarks.certificates page

WN18RR := $(or $(MULDE_DATA),data)/wn18rr

bench-predict: $(STAMP) $(BENCH_WORDNET)/manifest.json ## Measure mulde predict beside the product of all cores, and write benchmarks/predict.md
	@test -d '$(WN18RR)' || $(PY) -m mulde.cli data fetch wn18rr --out '$(WN18RR)'
	@$(PY) -m benchmarks.predict measure models/wn18rr-32 --graph '$(WN18RR)'
	@$(PY) -m benchmarks.predict measure $(BENCH_WORDNET)
	@$(PY) -m benchmarks.predict page

# One after another, for each wants the machine for itself.
bench: ## Measure everything in one order: server, index, certificates, batches, scale
	@$(MAKE) --no-print-directory bench-serving
	@$(MAKE) --no-print-directory bench-index
	@$(MAKE) --no-print-directory bench-certificates
	@$(MAKE) --no-print-directory bench-predict
	@$(MAKE) --no-print-directory bench-scale

SCALES := 10000 100000 1000000 5000000

bench-scale: $(STAMP) ## Build, open, ask and serve made-up graphs of 10^4 to 5*10^6 entities, and write benchmarks/scale.md
	@for size in $(SCALES); do \
		for part in build engine served; do $(PY) -m benchmarks.scale $$part $$size || exit 1; done; \
	done
	@$(PY) -m benchmarks.scale page

SPEED ?= codex-s

bench-training: $(STAMP) $(PEERS)/.ready ## Measure the training loop beside PyKEEN, and write benchmarks/training.md: SPEED=codex-s
	@$(PY) -m benchmarks.training_speed measure $(or $(MULDE_DATA),data)/$(SPEED) --peers $(PEERS)/bin/python
	@$(PY) -m benchmarks.training_speed ways $(or $(MULDE_DATA),data)/$(SPEED)
	@$(PY) -m benchmarks.training_speed page

bench-fit: $(STAMP) ## Fit six graphs beside their committed recipes, and write benchmarks/fit.md: hours
	@for pair in umls:umls nations:umls codex-s:codex-s wn18rr:wn18rr fb15k-237:fb15k-237; do \
		graph='$(or $(MULDE_DATA),data)'/$${pair%:*}; recipe=models/recipes/best/$${pair#*:}-32.toml; \
		$(PY) -m benchmarks.fit committed "$$graph" $$recipe || exit 1; \
		$(PY) -m benchmarks.fit automatic "$$graph" || exit 1; \
	done
	@$(PY) -m benchmarks.fit committed data/wordnet-core models/recipes/best/wordnet-core-32.toml
	@$(PY) -m benchmarks.fit automatic data/wordnet-core
	@$(PY) -m benchmarks.fit page

bench-growth: $(STAMP) ## Measure an epoch at 10^4, 10^5 and 10^6 entities, and write benchmarks/growth.md
	@for size in 10000 100000 1000000; do $(PY) -m benchmarks.growth measure $$size || exit 1; done
	@$(PY) -m benchmarks.growth page

SNAPSHOTS ?= $(or $(MULDE_DATA),data)/snapshots

bench-update: $(STAMP) ## Update after each snapshot of a graph, beside training from nothing, and write benchmarks/update.md
	@for set in entity fact; do for way in update nothing nothing-sampled nothing-teacher; do \
		$(PY) -m benchmarks.update measure '$(SNAPSHOTS)'/$$set $$way || exit 1; \
	done; done
	@$(PY) -m benchmarks.update page
	@$(PY) -m benchmarks.unseen page

bench-explain: $(STAMP) ## Measure explanations: faithfulness, time, rules as a ranker, and write benchmarks/explain.md
	@test -d '$(WN18RR)' || $(PY) -m mulde.cli data fetch wn18rr --out '$(WN18RR)'
	@rm -rf build/bench/wn18rr-32
	@$(PY) -m mulde.cli rules models/wn18rr-32 --data '$(WN18RR)' --facts -o build/bench/wn18rr-32
	@$(PY) -m benchmarks.explain faithfulness build/bench/wn18rr-32 --data '$(WN18RR)' --count 600
	@$(PY) -m benchmarks.explain time build/bench/wn18rr-32
	@$(PY) -m benchmarks.explain rank build/bench/wn18rr-32 --data '$(WN18RR)' --sample 4000
	@$(PY) -m benchmarks.explain page

gpu-check: $(STAMP) ## Train the paper's and the best recipes on a GPU in 9 minutes: DATA_ROOT=data
	@$(PY) -m benchmarks.gpu_check --data '$(or $(DATA_ROOT),$(MULDE_DATA),data)'

bench-compression: $(STAMP) ## One large model, compressed or as a teacher, beside small teachers: benchmarks/compression.md
	@$(PY) -m benchmarks.compression run models/recipes/best/codex-s-32.toml --data $(or $(MULDE_DATA),data)/codex-s
	@$(PY) -m benchmarks.compression page

protos: $(STAMP) ## Generate mulde/v1 from protos/
	@$(PY) scripts/generate/stubs.py

DOCS := $(VENV)-docs

$(DOCS)/.ready: pyproject.toml $(STAMP)
	@$(PY) -m venv --clear $(DOCS)
	@$(DOCS)/bin/python -m pip install --quiet 'pip==$(PIP_VERSION)'
	@$(DOCS)/bin/python -m pip install --quiet --group docs
	@touch $@

docs: $(DOCS)/.ready ## Build the documentation site into build/site; a broken link is an error
	@PYTHONPATH=. $(DOCS)/bin/python -m scripts.build_site

wheel: $(STAMP) ## Build the wheel into dist/
	@$(PY) -m build --wheel

# What is shipped is looked at from outside, with tools that no part of mulde needs.
SUPPLY := $(VENV)-supply
LOCK := deploy/serving.lock
SHIPPED := build/shipped

$(SUPPLY)/.ready: pyproject.toml $(STAMP)
	@$(PY) -m venv --clear $(SUPPLY)
	@$(SUPPLY)/bin/python -m pip install --quiet 'pip==$(PIP_VERSION)'
	@$(SUPPLY)/bin/python -m pip install --quiet --group supply
	@touch $@

lock: $(SUPPLY)/.ready ## Write deploy/serving.lock: all that server and gateway install, with hashes, for pip --require-hashes
	@$(SUPPLY)/bin/uv pip compile pyproject.toml --quiet --extra serving --extra web --constraint constraints.txt \
		--universal --python-version 3.11 --generate-hashes --no-annotate --no-emit-index-url \
		--no-emit-package colorama --custom-compile-command 'make lock' --output-file $(LOCK)

audit: $(SUPPLY)/.ready ## Check the hashes of all that serving installs, and look for known vulnerabilities
	@$(PIP) download --quiet --no-deps --only-binary :all: --require-hashes --dest build/audit -r $(LOCK)
	@$(SUPPLY)/bin/pip-audit --strict --disable-pip --require-hashes --progress-spinner off -r $(LOCK)

sbom: $(SUPPLY)/.ready wheel ## Write dist/mulde-serving.cdx.json: what a server is made of (CycloneDX)
	@$(PY) -m venv --clear $(SHIPPED)
	@$(SHIPPED)/bin/python -m pip install --quiet --require-hashes -r $(LOCK)
	@$(SHIPPED)/bin/python -m pip install --quiet --no-deps --no-index --find-links dist mulde
	@$(SHIPPED)/bin/python -m pip uninstall --quiet --yes pip setuptools
	@$(SUPPLY)/bin/cyclonedx-py environment $(SHIPPED)/bin/python --pyproject pyproject.toml \
		--output-reproducible --output-format JSON --output-file dist/mulde-serving.cdx.json
	@$(PY) scripts/check_sbom.py dist/mulde-serving.cdx.json $(LOCK)

# Atheris needs no torch, and mulde needs no atheris: an environment of its own.
FUZZ := $(VENV)-fuzz
FOR ?= 300

$(FUZZ)/.ready: pyproject.toml $(LOCK) $(STAMP)
	@$(PY) -m venv --clear $(FUZZ)
	@$(FUZZ)/bin/python -m pip install --quiet 'pip==$(PIP_VERSION)'
	@$(FUZZ)/bin/python -m pip install --quiet --require-hashes -r $(LOCK)
	@$(FUZZ)/bin/python -m pip install --quiet --group fuzz
	@touch $@

fuzz: $(FUZZ)/.ready ## Feed the requests and every reader whatever bytes atheris comes to, FOR=300 seconds each: SEED=1
	@PYTHONPATH=. $(FUZZ)/bin/python -m tests.fuzz.long build/fuzz $(FOR) $(SEED)

ARM_MODEL ?= models/wn18rr-32

check-arm: $(STAMP) ## Run the server for arm64 under emulation and compare 200 answers (Debian): ARM_MODEL=...
	@$(PY) -m scripts.check_arm $(ARM_MODEL)

clean: ## Remove what was built; keeps trained runs and downloads
	rm -rf $(VENV) build dist ./*.egg-info .mypy_cache .ruff_cache .pytest_cache
