# Two commands are enough: `make demo` shows the whole journey, `make test` checks everything.

PYTHON ?= $(shell command -v python3.11 || command -v python3 || echo python3)
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed

.PHONY: help setup demo test lint types imports unit originals bench-listener bench-worker bench-networks bench-ledger bench-hosts bench-night fuzz soak soak-receiving soak-journey conformance test-files gate-simulation drift-simulation starter lock audit clean

help: ## say what each target does
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*##/\t/' | expand -t 18

setup: $(STAMP) ## create .venv and install the locked requirements

$(STAMP): requirements/dev.txt pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "Python 3.11 or later is needed: install it, or say make PYTHON=/path/to/python3.11"; exit 1; }
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || { echo "This Python lacks venv. On Debian or Ubuntu: apt-get install python3-venv"; exit 1; }
	@echo "Creating $(VENV) and installing the locked requirements (a minute or two, about 2 GB) ..."
	@$(PYTHON) -m venv $(VENV)
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes --requirement requirements/dev.txt
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
	@touch $@

demo: setup ## send a day's worth of odd studies through the real thing and account for each
	@$(BIN)/lungwatch demo

test: lint types imports unit ## lint, types, import rules and every test

lint: setup
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: setup
	$(BIN)/mypy

imports: setup
	$(BIN)/lint-imports

# Three on two cores: the tests wait for deadlines, databases and peers as much as they compute. Where an environment
# forbids it, what was compiled is kept all the same: the tests start this program some hundred times.
unit: setup
	PYTHONDONTWRITEBYTECODE= $(BIN)/pytest --numprocesses 3 --dist worksteal || $(AGAIN)

# Where a machine is shared it may stand still for a second, and a deadline pass that is no fault of ours: what failed
# is asked once more, alone. Both answers are printed.
AGAIN = { [ $$? -eq 1 ] && echo "--- Once more, alone, what failed beside others ---" && \
	$(BIN)/pytest --last-failed --last-failed-no-failures none --maxfail 3; }

originals: setup ## all public originals on every set-up, with kills; needs LUNGWATCH_SHARED_DATA
	$(BIN)/pytest -m originals --numprocesses 2 --dist worksteal

bench-listener: setup ## our listener beside pynetdicom, storescp, Orthanc and the floor; ten to twelve minutes on a quiet machine
	$(BIN)/python -m bench.listener $(BENCH)

# pydicom's decoders stay outside the environment: pydicom would use them everywhere
PLUGINS := .bench-plugins

$(PLUGINS)/.installed: requirements/bench.txt | setup
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --require-hashes --upgrade --target $(PLUGINS) --requirement $<
	@touch $@

bench-worker: setup $(PLUGINS)/.installed ## decoding beside pydicom's, whole journeys beside the obvious way; a quarter of an hour; BENCH="--parts end-to-end --quick"
	$(BIN)/python -m bench.worker --plugins $(PLUGINS) $(BENCH)

bench-night: setup ## a fine-tuning night on the public collection beside a worker; half an hour to an hour on a quiet machine
	$(BIN)/python -m bench.night $(LUNGWATCH_SHARED_DATA)/chest_xray_train_224.zip $(BENCH)

bench-networks: setup ## what our networks cost to serve and to fit, beside the notebook's; two minutes
	$(BIN)/python -m bench.networks $(BENCH)

bench-ledger: setup ## the ledger with 10 million images in a PostgreSQL of its own; half an hour and 22 GB on a quiet machine
	$(BIN)/python -m bench.ledger $(BENCH)

bench-hosts: setup ## images a second of one worker host and of two on one spool and PostgreSQL; five minutes on a quiet machine
	$(BIN)/python -m bench.hosts $(BENCH)

fuzz: setup ## mutated sessions against the listener for 10 minutes; FUZZ="--minutes 30 --seed 5", FUZZ="--replay FILE"
	$(BIN)/python -m tests.fuzz $(FUZZ)

soak: soak-receiving soak-journey ## both, ten minutes each; SOAK="--minutes 60"

soak-receiving: setup ## honest and hostile peers, kills and a restart at the listener, every instance accounted for
	$(BIN)/python -m bench.soak $(SOAK)

soak-journey: setup ## all of it on PostgreSQL and Redis at half its highest rate, a process killed or stopped every 20 s
	$(BIN)/python -m bench.soak_journey $(SOAK)

conformance: setup ## bring docs/conformance.md up to date with the tables in the code
	$(BIN)/python -m tests.tools.conformance

test-files: setup ## send pydicom's own files through the whole journey and write docs/test-files.md; half a minute
	$(BIN)/python -m tests.tools.shipped_files

gate-simulation: setup ## how often equal, better and worse models pass the gate (docs/gate.md); ten minutes; GATE="--nights 50"
	$(BIN)/python -m tests.tools.gate_simulation $(GATE)

drift-simulation: setup ## how often drift is told, where there is some and where not (docs/drift.md); a quarter of an hour; DRIFT="--looks 50"
	$(BIN)/python -m tests.tools.drift_simulation $(DRIFT)

starter: setup ## train the starter bundle anew; needs DATA, VERSION and KEY, the release key (docs/model-card.md)
	@test -n "$(DATA)" -a -n "$(VERSION)" -a -n "$(KEY)" || { echo "say make starter DATA=chest_xray.zip VERSION=2 KEY=release_key.pem"; exit 1; }
	LUNGWATCH_SIGNING_KEY_FILE=$(KEY) $(BIN)/lungwatch train champion --data $(DATA) --out $(VERSION).bundle --name se-resnet --version $(VERSION)
	@echo "Replace bundle/starter by $(VERSION).bundle, run make test, commit."

lock: ## resolve the requirements anew (needs uv)
	uv pip compile pyproject.toml --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-annotate --no-header --quiet --extra postgres --output-file requirements/runtime.txt
	uv pip compile pyproject.toml --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-annotate --no-header --quiet --extra postgres --extra train --output-file requirements/train.txt
	uv pip compile pyproject.toml --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-annotate --no-header --quiet --extra postgres --extra train --extra gpu --output-file requirements/gpu.txt
	uv pip compile pyproject.toml --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-annotate --no-header --quiet --extra postgres --extra train --extra dev --output-file requirements/dev.txt
	uv pip compile requirements/bench.in --no-deps --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-annotate --no-header --quiet --output-file requirements/bench.txt

audit: setup ## known vulnerabilities in the locked requirements
	$(BIN)/pip-audit --require-hashes --disable-pip --requirement requirements/runtime.txt

clean: ## remove what setup and the tests made
	rm -rf $(VENV) $(PLUGINS) .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache *.egg-info
