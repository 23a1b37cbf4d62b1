# Everything sets itself up: .venv is made once, at the versions of constraints.txt, and again when those change.
.DEFAULT_GOAL := help
SHELL := /bin/sh
RUN := .venv/.installed-run
DEV := .venv/.installed-dev

# Many a container forbids Python to keep what it compiled; then every process of a test would compile everything anew.
export PYTHONDONTWRITEBYTECODE :=

# A checkout that was moved, or whose Python has gone, is set up again.
ifneq ($(shell [ "$$(cat $(RUN) 2>/dev/null)" = "$(CURDIR)" ] && [ -f .venv/pyvenv.cfg ] && [ -x .venv/bin/python ] && echo ready),ready)
.PHONY: $(RUN) $(DEV)
endif

.PHONY: help demo test test-quick packages check-tasks check check-format check-lint check-types check-imports screenshot benchmark lock clean

help:
	@echo 'make demo        watch the scripted agent work on battleOfSexes (no key, no Docker, no network needed)'
	@echo 'make test        run the tests; says what it skips, and why'
	@echo 'make test-quick  run those that start no sandbox: half a minute'
	@echo 'make packages    install what tasks need besides the workbench (PyTorch, JAX)'
	@echo 'make check-tasks whether all tasks hold; SANDBOX=docker does it in containers'
	@echo 'make check       formatting, lint, types, and which room imports which'
	@echo 'make benchmark   measure the workbench against the floors of this machine; BASE=v1.0 against another build'
	@echo 'make screenshot  draw docs/workbench.svg anew'
	@echo 'make lock        write constraints.txt anew, with the newest versions that fit'
	@echo 'make clean       remove .venv and what the tools left behind (saved sessions stay)'
	@echo
	@echo 'Each sets up what it needs. PYTHON=/path/to/python3.12 chooses the Python of .venv.'

# What the workbench needs comes first; what tests and checks need as well is installed when they are first run.
$(RUN): pyproject.toml constraints.txt scripts/setup.sh scripts/install.py
	@PYTHON='$(PYTHON)' scripts/setup.sh run

$(DEV): pyproject.toml constraints.txt scripts/setup.sh scripts/install.py
	@PYTHON='$(PYTHON)' scripts/setup.sh dev

# Leaving the workbench before the agent submitted is no error of make's; without a terminal the exit code counts.
demo: $(RUN)
	@.venv/bin/mlgym-tui run battleOfSexes || { code=$$?; [ $$code = 1 ] && [ -t 0 ] && [ -t 1 ] || exit $$code; }

# Much of the suite waits for processes: one worker more than there are processors. JOBS=0 runs it in one process. The
# order of files is that of tests/conftest.py.
JOBS ?= $(shell expr $$(getconf _NPROCESSORS_ONLN) + 1)

test: $(DEV)
	@.venv/bin/python -m pytest -n $(JOBS) --dist loadfile --no-loadscope-reorder $(ARGS)

# Those in which nothing is started but what is tested: no sandbox, container, terminal or provider's server.
QUICK := tests/agents tests/analysis tests/formats tests/library tests/session tests/environment/services \
	$(addprefix tests/sandbox/test_,channel.py markers.py multiline.py render.py) \
	$(wildcard $(addprefix tests/*/test_,artifact.py catalogue.py csv_artifact.py hub.py schema.py)) \
	$(addprefix tests/runner/test_,approval.py loops.py) \
	$(addprefix --ignore=tests/,agents/models/test_behaviours.py agents/models/test_providers.py \
		agents/test_long_sessions.py analysis/test_figures.py formats/test_exports.py) \
	$(addprefix tests/tui/test_,actions.py line_view.py status_cost.py status_progress.py terminal_engine.py text_flow.py)

test-quick: $(DEV)
	@.venv/bin/python -m pytest -n $(JOBS) --dist loadfile $(QUICK) $(ARGS)

# What tasks need besides the workbench (PyTorch, JAX: a gigabyte or two), and all that can go wrong with a task.
SANDBOX ?= local
TASKS ?= $$(.venv/bin/mlgym-tui tasks --json | .venv/bin/python -c 'import json, sys; print(*(t["id"] for t in json.load(sys.stdin)))')

packages: $(RUN)
	@.venv/bin/mlgym-tui tasks prepare --all --dataset tiny --sandbox $(SANDBOX)

# Two at a time, since much of a check waits for processes; what one says comes in one piece. On the real pictures, where
# they are here, the baselines of the image tasks would train for minutes.
check-tasks: packages
	@printf '%s\n' $(TASKS) | xargs -P 2 -I {} sh -c 'case {} in image*) on="--dataset tiny" ;; esac; \
		said=$$(.venv/bin/mlgym-tui tasks check {} --sandbox $(SANDBOX) $$on 2>&1); code=$$?; echo "$$said"; exit $$code'

check: check-format check-lint check-types check-imports

check-format: $(DEV)
	.venv/bin/ruff format --check .

check-lint: $(DEV)
	.venv/bin/ruff check .

check-types: $(DEV)
	.venv/bin/mypy

check-imports: $(DEV)
	.venv/bin/lint-imports

screenshot: $(RUN)
	.venv/bin/python scripts/screenshot.py

benchmark: $(DEV)
	.venv/bin/python -m benchmarks $(if $(BASE),--base $(BASE)) $(ARGS)

lock: $(DEV)
	.venv/bin/python scripts/lock.py

clean:
	rm -rf .venv .pytest_cache .mypy_cache .ruff_cache .import_linter_cache .hypothesis dist build
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
