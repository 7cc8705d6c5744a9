# Everything is set up in .venv below this folder; nothing outside is touched.
PYTHON ?= python3
PORT ?= $(if $(filter gateway,$(MAKECMDGOALS)),8784,8774)
COMPUTE_URL ?=
ARGS ?=
N ?= 10000
SECONDS ?= 60
ROUNDS ?= 200
# One more than there are cores: many tests wait for a server.
WORKERS ?= $(shell expr $$(getconf _NPROCESSORS_ONLN) + 1)
# The newest patch of each release that declares a Python the filter runs on; docs/maintainers/novas.md says what passes.
NOVAS = 34.0.0 33.0.2 32.2.1 31.3.1 30.3.0 29.4.0 28.3.1 27.5.1 26.3.0 25.3.0
NOVA ?= $(firstword $(NOVAS))
BIN = .venv/bin

.DEFAULT_GOAL = help
.PHONY: help demo gateway unit test test-packages test-nova test-novas storm mutants lint generate pictures docs linkcheck dist bench search fuzz \
	clean

help:
	@echo "make demo   a real Nova with the filter in its pipeline on 127.0.0.1:$(PORT), with a short tour"
	@echo "            (PORT=... another port, ARGS=--once to end after the tour)"
	@echo "make gateway COMPUTE_URL=http://...  the filter as a gateway in front of a compute API, on 127.0.0.1:8784"
	@echo "            (PORT=... another port), for a first try: without auth_token, its records in a folder of its own"
	@echo "make unit   the fast tests, without Nova and servers: the first thing to run after a change"
	@echo "make test   all tests: unit tests on every Python found, then everything with a real Nova"
	@echo "make test-packages  a fresh Debian with the units, the Debian package, the container images (as root)"
	@echo "make test-nova NOVA=32.2.1   the tests with a real Nova, of that release (make test-novas: of each from 25 to 34)"
	@echo "make mutants   mutation tests of the modules that decide; takes hours"
	@echo "make demo CONFIG=my.conf  the same Nova with your own policy, reloaded live, and each record as it is written"
	@echo "make gateway CONFIG=my.conf  the same with the filter as a gateway in front of that Nova"
	@echo "make lint   ruff and mypy"
	@echo "make generate  the sample config, and the parts of the pages that derive from the code"
	@echo "make pictures  the picture of the report that the pages show (needs chromium)"
	@echo "make docs   the documentation as a site, in build/docs/html (make linkcheck: ask each link outside, needs a network)"
	@echo "make dist   source distribution and wheel, in dist/"
	@echo "make bench  what the filter costs a request, beside others (AGAINST=folder: beside the one in another checkout)"
	@echo "make search the search for a counter-example, on a real Nova: N=1000000 requests, continues where it stopped"
	@echo "            (BUGS=5 seeds bugs in the filter instead, and counts over 5 runs until each is found;"
	@echo "            VOLUME=1 asks for images of a server that boots from a volume)"
	@echo "make storm  limits in a storm of requests on a real Nova and Glance: ROUNDS=200 for each back end of locks"
	@echo "make fuzz   coverage-guided fuzzing of what reads requests (SECONDS=600, Python 3.11 to 3.13 on Linux)"
	@echo "make clean  remove what these set up"

demo: .venv/ready
	@$(BIN)/python -W ignore -m tests.nova.demo --port $(PORT) $(if $(CONFIG),--config '$(CONFIG)') $(ARGS)

# With a policy of one's own and no compute API, the demo's Nova stands behind, with its tokens.
gateway: .venv/ready
ifneq ($(CONFIG),)
ifeq ($(COMPUTE_URL),)
	@$(BIN)/python -W ignore -m tests.nova.demo --gateway --port $(PORT) --config '$(CONFIG)'
else
	@$(BIN)/python -W ignore -m tests.gateway.first_try --port $(PORT) --compute-url '$(COMPUTE_URL)' --config '$(CONFIG)'
endif
else
	@$(BIN)/python -W ignore -m tests.gateway.first_try --port $(PORT) --compute-url '$(COMPUTE_URL)'
endif

unit: .venv-unit/ready
	.venv-unit/bin/python -m pytest -q -n auto -m "not slow" tests/unit $(ARGS)

test: .venv/ready
	@PYTHON=$(BIN)/python sh tests/every_python.sh
	$(BIN)/python -m pytest -n $(WORKERS) --maxschedchunk 100
	$(BIN)/python -m pytest -n 2 --dist loadfile tests/limits

# As root, with the network: minutes.
test-packages: .venv/ready
	$(BIN)/python -m pytest tests/debian tests/gateway/test_install.py $(ARGS)

test-nova:
	@sh tests/one_nova.sh $(NOVA) $(ARGS)

test-novas:
	@for nova in $(NOVAS); do sh tests/one_nova.sh $$nova $(ARGS) || failed="$$failed $$nova"; done; \
	test -z "$$failed" || { echo "failed:$$failed"; exit 1; }

mutants: .venv-mutants/ready
	-ulimit -v 4000000; nice -n 10 .venv-mutants/bin/mutmut run --max-children 1
	.venv-mutants/bin/python -m tests.mutants

lint: .venv/ready
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy

generate: .venv/ready
	$(BIN)/oslo-config-generator --config-file etc/imagefilter/config-generator.conf
	$(BIN)/python -m docs.generate

pictures: .venv/ready
	$(BIN)/python -W ignore -m tests.pictures

docs: .venv/ready
	$(BIN)/python -m sphinx -q -W --keep-going -n -b html docs build/docs/html
	@echo 'build/docs/html/index.html'

linkcheck: .venv/ready
	$(BIN)/python -m sphinx -q -b linkcheck docs build/docs/linkcheck

dist: .venv/ready
	rm -rf build/lib dist
	$(BIN)/python -m build
	$(BIN)/twine check --strict dist/*

bench: .venv/ready
	@$(BIN)/python -W ignore -m tests.benchmarks.bench $(if $(AGAINST),--against $(AGAINST),--page docs/maintainers)

search: .venv/ready
	@$(BIN)/python -W ignore -m tests.nova.search $(if $(VOLUME),--volume) \
		$(if $(BUGS),--seeded-bugs $(BUGS),--examples $(N))

storm: .venv/ready
	@ROUNDS=$(ROUNDS) $(BIN)/python -m pytest -q -s tests/limits/test_storm.py -k never 2>/dev/null | grep -E 'at most|passed|failed'

fuzz: .venv/ready
	@$(BIN)/python -m pip install -qq --disable-pip-version-check -c tests/constraints.txt -e '.[fuzz]'
	@$(BIN)/python -m tests.fuzz.fuzz -max_total_time=$(SECONDS)

clean:
	rm -rf .venv .venv-* build dist mutants *.egg-info

.venv-unit/ready: setup.cfg
	@echo 'Setting up .venv-unit ...'
	@$(PYTHON) -m venv --clear .venv-unit
	@.venv-unit/bin/python -m pip install -qq --disable-pip-version-check -e '.[unit]'
	@touch $@

.venv-mutants/ready: setup.cfg
	$(PYTHON) -m venv --clear .venv-mutants
	.venv-mutants/bin/python -m pip install -qq --disable-pip-version-check -e '.[test,mutation]'
	@touch $@

.venv/ready: setup.cfg tests/constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Nova 34, which the tests run, needs Python 3.11 \
	or newer: try make PYTHON=python3.12 (this is " + sys.version.split()[0] + "; the filter itself runs on 3.9)")'
	@$(PYTHON) -m venv --clear .venv
	@printf 'Installing Nova 34 and its test fixtures into .venv, about a minute '
	@while sleep 2; do printf .; done & dots=$$!; trap "kill $$dots" EXIT; \
	$(BIN)/python -m pip install -qq --disable-pip-version-check -c tests/constraints.txt -e '.[test,nova,clouds,dev,bench,gateway,relay,dist,docs]'
	@echo ' done'
	@touch $@
