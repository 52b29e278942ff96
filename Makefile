# Each target sets up what is missing, once. Options for the commands go in ARGS: make mnist ARGS="--case w1 --iterations 200"
CARGO ?= cargo
PYTHON ?= python3
ARGS ?=

.PHONY: help setup doctor mnist torus test validate bench gpu-check book deny wheel wheel-test

help: ## this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "make %-16s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

setup: ## install OpenBLAS and libtorch where they are missing
	@$(PYTHON) scripts/setup.py install

doctor: ## print what was found: toolchain, libtorch, LAPACK, device, data set
	@$(PYTHON) scripts/setup.py doctor

mnist: setup ## train the W1/W2 proximal flow
	$(CARGO) run --release --bin mnist -- $(ARGS)

torus: setup ## run the torus uniqueness experiments
	$(CARGO) run --release --bin torus -- $(ARGS)

test: setup ## build and pass every test, those of the Python wheel included
	$(CARGO) test --release $(ARGS)
	@$(PYTHON) scripts/wheel.py test

validate: setup ## check every claim and write report.html
	$(CARGO) run --release --bin validate -- $(ARGS)

bench: setup ## time the oracle and the training step beside their peers
	@$(PYTHON) scripts/bench.py $(ARGS)

gpu-check: setup ## on a machine with CUDA: agreement, training, speed, resuming and pictures as one JSON in docs/records
	$(CARGO) build --release --bin mnist --bin validate --example device_agreement --example seconds_per_step
	@$(PYTHON) scripts/gpu_check.py $(ARGS)

book: ## build the guide into target/book
	@$(PYTHON) scripts/check_docs.py
	@$(PYTHON) scripts/check_doctests.py
	@$(PYTHON) scripts/setup.py book

deny: ## check licences, sources and the reasons of all dependencies
	@$(PYTHON) scripts/check_dependencies.py
	@$(PYTHON) scripts/setup.py deny

wheel: ## build the Python wheel into target/wheels
	@$(PYTHON) scripts/wheel.py build

wheel-test: ## build the Python wheel and test it in throwaway environments
	@$(PYTHON) scripts/wheel.py test

.PHONY: kill-test tensorboard-test fuzz differential
# Kills of `make kill-test`.
N ?= 50

kill-test: setup ## kill N trainings at random moments and compare the resumed runs with an uninterrupted one
	$(CARGO) build --release --bin mnist
	@$(PYTHON) scripts/kill_test.py --mnist $${CARGO_TARGET_DIR:-target}/release/mnist --kills $(N) $(ARGS)

tensorboard-test: setup ## read the event file of a short run back by TensorBoard itself
	$(CARGO) build --release --bin mnist
	@$(PYTHON) scripts/tensorboard_test.py --mnist $${CARGO_TARGET_DIR:-target}/release/mnist $(ARGS)

fuzz: setup ## fuzz every reader of files with coverage guidance, 10 million executions each (ARGS="--seconds 60" for less)
	@$(PYTHON) scripts/fuzz.py $(ARGS)

differential: setup ## read random files as numpy and safetensors (Python) do
	@$(PYTHON) scripts/differential.py $(ARGS)
