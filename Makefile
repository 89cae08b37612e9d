# The two commands of the README. Each does its own set-up; the lock's hashes decide what is installed.
.DELETE_ON_ERROR:

VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
BENCH := .venv-bench
AUDIT := .venv-audit

.PHONY: run test lock deploy bench bench-huge bench-lock

run: $(READY)
	@$(BIN)/nightdrop run --prefect; code=$$?; [ $$code -eq 0 ] || [ $$code -eq 3 ] || exit $$code

# The pages that are made out of the code.
.PHONY: docs
docs: $(READY)
	@$(BIN)/python -m pipelines.handbook docs

test: $(READY)
	@$(BIN)/ruff check . && $(BIN)/ruff format --check . && $(BIN)/mypy && $(BIN)/pytest -q -n 3 --timeout 300

# About half an hour; the machine must have nothing else to do. Options: make bench BENCH_OPTIONS="--rounds 3".
bench: $(READY) $(BENCH)/.ready
	@$(BIN)/python -m benchmarks.bench --keep benchmarks/results $(BENCH_OPTIONS)
	@$(BIN)/python -m benchmarks.page

# One file of 20,000,000 events beside the one of 1,000,000: some 35 GB of disk.
bench-huge:
	@$(MAKE) --no-print-directory bench BENCH_OPTIONS="--mixes clients-4 huge --rounds 2 --without-dlt $(BENCH_OPTIONS)"

# What PREFECT_API_URL's server is told of the home at NIGHTDROP_HOME; again after an upgrade. Nothing is fetched.
deploy: export NIGHTDROP_HOME := $(abspath $(or $(NIGHTDROP_HOME),.))
deploy: $(READY)
	@$(BIN)/prefect config view --hide-sources | grep -q '^PREFECT_API_URL=' || \
		{ echo "deploy: which Prefect server? Set PREFECT_API_URL, such as http://127.0.0.1:4200/api. Nothing was deployed." >&2; exit 2; }
	@$(BIN)/prefect work-pool create nightdrop --type process --overwrite
	@$(BIN)/prefect --no-prompt deploy --all

# Known holes of the locked libraries. No part of `make test`: it needs a registry that answers, and says so where none does.
.PHONY: audit
audit: $(AUDIT)/.ready
	@$(AUDIT)/bin/python .ci/audit.py requirements.lock

$(AUDIT)/.ready:
	@python3.11 -m venv $(AUDIT) 2>/dev/null || python3 -m venv $(AUDIT)
	@$(AUDIT)/bin/python -m pip install --quiet --disable-pip-version-check pip-audit==2.10.1
	@touch $(AUDIT)/.ready

lock: $(READY)
	$(BIN)/python -m pip install --quiet uv
	$(BIN)/uv pip compile pyproject.toml --extra dev --generate-hashes --no-emit-index-url --no-emit-find-links --no-header --quiet -o requirements.lock

$(READY): requirements.lock pyproject.toml setup.py pipelines/_lines.c
	@echo "nightdrop: setting up $(VENV) (once)"
	@python3.11 -m venv $(VENV) 2>/dev/null || python3 -m venv $(VENV)
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --require-hashes -r requirements.lock
	@$(BIN)/python -m pip check >/dev/null
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .
	@$(BIN)/python -m compileall -q api flows pipelines validation # as pip does for what lies in the environment
	@touch $(READY)

bench-lock: $(READY)
	$(BIN)/python -m pip install --quiet uv
	$(BIN)/uv pip compile benchmarks/requirements.in -c requirements.lock --python-version 3.11 --generate-hashes --no-emit-index-url --no-emit-find-links --no-header --quiet -o benchmarks/requirements.lock

$(BENCH)/.ready: benchmarks/requirements.lock
	@echo "nightdrop: setting up $(BENCH) (once)"
	@python3.11 -m venv $(BENCH) 2>/dev/null || python3 -m venv $(BENCH)
	@$(BENCH)/bin/python -m pip install --quiet --disable-pip-version-check --no-deps --require-hashes -r benchmarks/requirements.lock
	@touch $(BENCH)/.ready
