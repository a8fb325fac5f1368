# Everything that this repository can do for you. `make demo` and `make test` need Python 3.11 with venv, gcc and make.

PYTHON ?= $(shell command -v python3.11 || command -v python3)
BIN := .venv/bin
JOBS ?= 2
SECONDS ?= 60

.PHONY: help setup demo up test check format bench interop torment fuzz man proto lock clean

help:  ## list these targets
	@sed -nE 's/^([a-z-]+):[^#]*## (.*)/\1\t\2/p' $(MAKEFILE_LIST) | expand -t 12

setup: .venv/ready  ## make .venv and install the locked dependencies

.venv/ready: requirements/dev.txt pyproject.toml
	$(PYTHON) -m venv .venv
	$(BIN)/pip install --quiet --require-hashes --no-deps -r requirements/dev.txt
	$(BIN)/pip install --quiet --no-deps --no-build-isolation --no-index -e .
	touch $@

demo: setup  ## start a throw-away instance, sign a real file, verify it, show a tampered copy refused
	$(BIN)/hallmark demo

up: setup  ## run an instance in ./instance until Ctrl-C
	$(BIN)/hallmark up --data instance --listen 127.0.0.1:8080

test: setup  ## run the tests; one alone: .venv/bin/python -m pytest tests/unit/test_note.py -k WORD
	$(BIN)/python -m pytest -n $(JOBS) --dist loadfile

check: setup  ## formatting, lints, types, layers, sizes, docs; every tool runs, whatever the others found
	@failed=; \
	for tool in "ruff format --check ." "ruff check ." mypy lint-imports "python -m pytest tests/architecture"; do \
		echo "$$tool"; $(BIN)/$$tool || failed="$$failed [$$tool]"; \
	done; \
	test -z "$$failed" || { echo "failed:$$failed" >&2; exit 1; }

format: setup  ## format the code, and put right what ruff can
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

bench: setup  ## measure; prints the table of bench/README.md
	$(BIN)/python -m bench

interop: setup .venv-interop/ready .tools/ready  ## real cosign, sigstore-go and sigstore-python against a real instance
	HALLMARK_INTEROP=1 $(BIN)/python -m pytest -m interop tests/interop

fuzz: setup  ## fuzz every parser of the log, SECONDS each; with atheris where it is installed
	$(BIN)/python -m tests.fuzz $(SECONDS)

torment: setup  ## kill processes at random moments under load, and check every entry
	$(BIN)/python -m pytest -m torment tests/scenario

.venv-interop/ready: requirements/interop.txt
	$(PYTHON) -m venv .venv-interop
	.venv-interop/bin/pip install --quiet --require-hashes --no-deps -r requirements/interop.txt
	touch $@

.tools/ready: tests/interop/fetch-clients
	tests/interop/fetch-clients .tools
	touch $@

man: setup  ## make docs/man/hallmark.1 again from what --help says
	$(BIN)/python -m hallmark.cli.man_page > docs/man/hallmark.1

proto: .venv-proto/ready  ## make the code of the gRPC messages again from their .proto files
	.venv-proto/bin/python -m grpc_tools.protoc -I src \
		-I "$$(.venv-proto/bin/python -c 'import google.api; print(google.api.__path__[0] + "/../..")')" \
		--python_out=src --pyi_out=src src/hallmark/tlog/grpc/*.proto

.venv-proto/ready: requirements/proto.txt
	$(PYTHON) -m venv .venv-proto
	.venv-proto/bin/pip install --quiet --require-hashes --no-deps -r requirements/proto.txt
	touch $@

lock: setup  ## make the requirement files again from pyproject.toml
	requirements/lock

clean:
	rm -rf .venv .venv-interop .venv-proto .tools
