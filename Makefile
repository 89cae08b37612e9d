# The two commands of the README. Each does its own set-up; the lock's hashes decide what is installed.
.DELETE_ON_ERROR:

VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready

.PHONY: run test lock deploy

run: $(READY)
	@$(BIN)/nightdrop run --prefect; code=$$?; [ $$code -eq 0 ] || [ $$code -eq 3 ] || exit $$code

test: $(READY)
	@$(BIN)/ruff check . && $(BIN)/ruff format --check . && $(BIN)/mypy && $(BIN)/pytest -q -n 2

# What PREFECT_API_URL's server is told of the home at NIGHTDROP_HOME; again after an upgrade. Nothing is fetched.
deploy: export NIGHTDROP_HOME := $(abspath $(or $(NIGHTDROP_HOME),.))
deploy: $(READY)
	@$(BIN)/prefect work-pool create nightdrop --type process --overwrite
	@$(BIN)/prefect --no-prompt deploy --all

lock: $(READY)
	$(BIN)/python -m pip install --quiet uv
	$(BIN)/uv pip compile pyproject.toml --extra dev --generate-hashes --no-emit-index-url --no-emit-find-links --no-header --quiet -o requirements.lock

$(READY): requirements.lock pyproject.toml
	@echo "nightdrop: setting up $(VENV) (once)"
	@python3.11 -m venv $(VENV) 2>/dev/null || python3 -m venv $(VENV)
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --require-hashes -r requirements.lock
	@$(BIN)/python -m pip check >/dev/null
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .
	@touch $(READY)
