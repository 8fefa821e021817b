# Every command prepares its virtual environment, which contains ROS 2 and this package. A sourced
# ROS 2 is used if there is one; otherwise ROS 2 comes from wheels.

.DEFAULT_GOAL := help
.PHONY: help demo demo-voice test check benchmark set-up set-up-optimize clean

PYTHON ?= python3
# The distribution of the wheels, such as ROS=jazzy; each one has its own environment.
ROS ?=
# The set of packages that a command has an environment of its own for: optimize, which has torch.
SEPARATE =
VENV = .venv$(if $(SEPARATE),-$(SEPARATE))$(if $(filter-out kilted,$(ROS)),-$(ROS))
TIER ?=
HYPOTHESIS ?=
NAME ?=
QUICK ?=
ARGS ?=

set_up = @$(PYTHON) scripts/set_up.py $(VENV) $(if $(ROS),--ros $(ROS)) $(if $(SEPARATE),--with $(SEPARATE))
enter = . $(VENV)/env.sh && PYTHONPATH="$(CURDIR)$${PYTHONPATH:+:$$PYTHONPATH}"

help:
	@echo 'make demo                   find objects in a sample video, through ROS 2 nodes'
	@echo 'make demo-voice             turn spoken commands into velocities, through ROS 2 nodes, and check them'
	@echo 'make test                   lint, types and all tests [TIER=unit] [ARGS="-k name"] [ROS=jazzy]'
	@echo '                            [HYPOTHESIS=random]: many new examples instead of a few fixed ones'
	@echo 'make test TIER=optimize     the tests of optimizing models, with torch, in .venv-optimize'
	@echo 'make check                  lint, format and types only'
	@echo 'make benchmark NAME=hop     measure a claim [QUICK=1] [ARGS="--json file"]'
	@echo 'make set-up                 only prepare .venv, so that .venv/bin/edge-inference runs'
	@echo 'make set-up-optimize        prepare .venv-optimize, which also has torch: 0.8 GB, for CUDA 4.6 GB'
	@echo 'make clean                  remove the environments, caches and build folders'
	@echo 'Variables: PYTHON=python3.12, ROS=kilted|jazzy (wheels; default: the sourced ROS 2, else kilted)'

demo:
	$(set_up)
	@. $(VENV)/env.sh && ROS_AUTOMATIC_DISCOVERY_RANGE="$${ROS_AUTOMATIC_DISCOVERY_RANGE:-LOCALHOST}" \
	  $(VENV)/bin/edge-inference run perception --source sample --frames 120 --save-overlay overlays $(ARGS)

demo-voice:
	$(set_up) --with voice
	@. $(VENV)/env.sh && ROS_AUTOMATIC_DISCOVERY_RANGE="$${ROS_AUTOMATIC_DISCOVERY_RANGE:-LOCALHOST}" \
	  $(VENV)/bin/edge-inference run voice --source sample --expect $(ARGS)

test: SEPARATE = $(filter optimize,$(TIER))
test:
	$(set_up) --with tests --with-gpu-kit
	@$(enter) HYPOTHESIS='$(HYPOTHESIS)' python scripts/tiers.py $(if $(TIER),--tier $(TIER)) -- $(ARGS)

check:
	$(set_up) --with tests
	@$(enter) python scripts/tiers.py --tier check

benchmark: SEPARATE = $(if $(filter optimize%,$(NAME)),optimize)
benchmark:
	@if [ ! -f 'benchmarks/$(NAME).py' ]; then \
	  echo "make benchmark NAME=$(NAME): there is no such benchmark. Expected one of:"; \
	  grep -l __main__ benchmarks/*.py | sed 's|.*/|  |; s|\.py$$||'; exit 2; fi
	$(set_up) --with tests
	@$(enter) python -m benchmarks.$(NAME) $(if $(QUICK),--quick) $(ARGS)

set-up-optimize: SEPARATE = optimize
set-up set-up-optimize:
	$(set_up) --with voice --with engines

clean:
	rm -rf .venv .venv-* .cache build install log dist overlays *.egg-info
