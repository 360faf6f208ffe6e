# The two commands of the README are `make demo` and `make test`; each does everything on a fresh machine.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
export PIP_DISABLE_PIP_VERSION_CHECK := 1

.PHONY: demo test test-all readme pages fit conformance check format lint types wheel bench fuzz random chips clean

demo: $(VENV)/.installed
	$(BIN)/joulec compile models/digits_resnet.onnx --target diana --data models/digits_calibration.npz -o build/digits_resnet
	$(BIN)/joulec run build/digits_resnet --input models/digits_test.npz --output build/digits_resnet.outputs.npz
	$(BIN)/joulec evaluate build/digits_resnet --data models/digits_test.npz --model models/digits_resnet.onnx

test: $(VENV)/.installed-dev
	$(BIN)/python -m pytest -q -n 2

# Everything, also what is marked slow (every model on every chip, a hundred kills).
test-all: $(VENV)/.installed-dev
	$(BIN)/python -m pytest -q -n 2 -m "slow or not slow"

# ONNX's own backend tests: compiled with --precision float, packaged, run; prints the count by tier. --free: as where no size is bound. On the
# last two, a test chip that computes in floats, our own kernels do what ONNX Runtime does elsewhere.
conformance: $(VENV)/.installed-dev
	$(BIN)/python -W ignore -m tests.support.conformance --target diana_digital
	$(BIN)/python -W ignore -m tests.support.conformance --target diana_digital --free
	$(BIN)/python -W ignore -m tests.support.conformance --target diana
	$(BIN)/python -W ignore -m tests.support.conformance --target float
	$(BIN)/python -W ignore -m tests.support.conformance --target float --constants

check: format lint types test wheel

format: $(VENV)/.installed-dev
	$(BIN)/ruff format --check .

lint: $(VENV)/.installed-dev
	$(BIN)/ruff check .

types: $(VENV)/.installed-dev
	$(BIN)/mypy

# The wheel, installed in an environment of its own and used from outside the tree.
wheel: $(VENV)/.installed-dev
	rm -rf build/wheel build/wheel-venv build/wheel-use
	$(BIN)/python -m pip wheel -q --no-deps -w build/wheel .
	$(PYTHON) -m venv build/wheel-venv
	build/wheel-venv/bin/python -m pip install -q -c constraints.txt build/wheel/joulec-*.whl
	mkdir -p build/wheel-use
	cp models/dim20.onnx build/wheel-use/
	cd build/wheel-use && ../wheel-venv/bin/joulec --version && ../wheel-venv/bin/joulec compile dim20.onnx --target tile16 -o package && ../wheel-venv/bin/joulec check package
	cd build/wheel-use && PYTHONPATH=$(CURDIR) ../../$(BIN)/python -m compiler.cli compile dim20.onnx --target tile16 -o from-tree
	diff -r build/wheel-use/package build/wheel-use/from-tree  # the wheel and the tree make the same bytes

# CPU time as a ratio to a fixed piece of numpy work in the same run; see tests/support/benchmark.py.
bench: $(VENV)/.installed-dev
	$(BIN)/python -m tests.support.benchmark

# Mutated models, packages, data and chips, for a minute; see tests/support/fuzz.py.
fuzz: $(VENV)/.installed-dev
	$(BIN)/python -m tests.support.fuzz 1000000 $(SEED) --seconds 60

# Random models, each compiled for CHIPS (all: every shipped one, an hour or two on two cores) and held to ONNX Runtime; see tests/support/random_check.py.
CHIPS := one-each
random: $(VENV)/.installed-dev
	$(BIN)/python -W ignore -m tests.support.random_check 0:2000 --targets $(CHIPS)
	$(BIN)/python -W ignore -m tests.support.random_check 0:1000 --targets $(CHIPS) --generator tests/support/random_functions.py

# Chip files made of the shipped ones by changes: what `targets check` passes compiles or is refused in words; see tests/support/chip_mutations.py.
chips: $(VENV)/.installed-dev
	$(BIN)/python -W ignore -m tests.support.chip_mutations 0:2000

# Runs the commands of README.md and docs/ and pastes what they print.
readme: $(VENV)/.installed-dev
	$(BIN)/python -m tests.support.readme

# Writes what the compiler itself says into docs/: the keys of chip files, the operations by chip.
pages: $(VENV)/.installed-dev
	$(BIN)/python -m tests.support.pages

# Refits the constants that no source gives to published silicon; see docs/energy.md.
fit: $(VENV)/.installed-dev
	$(BIN)/python -m tests.support.fit

$(VENV)/.installed: pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install -q -c constraints.txt -e .
	touch $@

$(VENV)/.installed-dev: pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install -q -c constraints.txt -e '.[dev]'
	touch $@ $(VENV)/.installed

clean:
	rm -rf build $(VENV)
