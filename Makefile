# One environment, .venv; a stamp in it says for which pyproject.toml it was filled.
# Name another Python for it with  make PYTHON=python3.13 …
export PYTHON

BIN := .venv/bin

.PHONY: help demo test check format bench chaos clean
.DELETE_ON_ERROR:

help:
	@echo "make demo    the whole story on sample data, in build/demo"
	@echo "make test    install what is missing, then all that CI runs"
	@echo "make check   formatting, lint, types, directions of imports"
	@echo "make format  put formatting and import order right"
	@echo "make bench   the figures in benchmarks/, each beside a peer"
	@echo "make chaos   a hundred kills of each installation, and every other fault"
	@echo "make clean   remove what these commands made"

demo: .venv/demo.stamp
	@$(BIN)/retention demo

test: .venv/test.stamp
	@tests/install-servers
	@$(MAKE) --no-print-directory check
	@$(BIN)/python -m pytest -n auto --dist worksteal

check: .venv/test.stamp
	@$(BIN)/ruff check --quiet .
	@$(BIN)/ruff format --check --quiet .
	@$(BIN)/mypy --no-error-summary
	@$(BIN)/lint-imports --no-logo >.venv/lint-imports.log || { cat .venv/lint-imports.log; exit 1; }
	@echo "ruff, mypy and lint-imports: nothing to say"

format: .venv/test.stamp
	@$(BIN)/ruff check --fix-only --quiet .
	@$(BIN)/ruff format .

bench: .venv/test.stamp
	@tests/install-servers
	@$(BIN)/python -m benchmarks

chaos: .venv/test.stamp
	@tests/install-servers
	@$(BIN)/python -m tests.chaos --engine embedded --kills 100
	@$(BIN)/python -m tests.chaos --engine celery --kills 100

clean:
	rm -rf .venv build dist .mypy_cache .pytest_cache .ruff_cache .import_linter_cache .hypothesis

.venv/demo.stamp: pyproject.toml
	@.ci/python-env mail,spreadsheet
	@touch $@

.venv/test.stamp: pyproject.toml
	@.ci/python-env all,dev
	@touch $@ .venv/demo.stamp
