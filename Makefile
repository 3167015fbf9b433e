# Headrace. `make` alone lists the targets.
.DEFAULT_GOAL := help
.PHONY: demo test test-jvm test-pure test-flink test-spark test-edge test-dags test-stack test-shop check up down bench soak package batch edge airflow lock help
.DELETE_ON_ERROR:

export HEADRACE_CACHE ?= $(CURDIR)/.headrace
UV := $(HEADRACE_CACHE)/uv/bin/uv
ENV := $(HEADRACE_CACHE)/env/streaming
PYTHON := $(ENV)/bin/python
HEADRACE := $(ENV)/bin/headrace
READY := $(ENV)/.ready
BATCH_PYTHON := $(HEADRACE_CACHE)/env/batch/bin/python
EDGE_PYTHON := $(HEADRACE_CACHE)/env/edge/bin/python
EDGE_READY := $(HEADRACE_CACHE)/env/edge/.ready
AIRFLOW_PYTHON := $(HEADRACE_CACHE)/env/airflow/bin/python
AIRFLOW_READY := $(HEADRACE_CACHE)/env/airflow/.ready
BATCH_READY := $(HEADRACE_CACHE)/env/batch/.ready
KAFKA_JARS := $(HEADRACE_CACHE)/jars/kafka/.ready
SPARK_JARS := $(HEADRACE_CACHE)/jars/spark/.ready
JOB_JAR := $(HEADRACE_CACHE)/jars/headrace-flink.jar
REQUIREMENTS := infra/requirements

demo: $(READY) $(KAFKA_JARS) $(JOB_JAR) ## simulated shoppers click, a bandit learns, live in the terminal (DEMO_SECONDS=n: plain lines, then ends)
	@$(HEADRACE) demo

test soak: export OPENBLAS_NUM_THREADS = 1
test: $(READY) $(KAFKA_JARS) $(JOB_JAR) $(BATCH_READY) $(SPARK_JARS) $(EDGE_READY) $(AIRFLOW_READY) ## the tests, in two lanes: those of the stack, and the others
	@$(PYTHON) -m headrace.infra.stack.prerequisites
	@$(MAKE) --no-print-directory --jobs=2 --keep-going --output-sync=target test-stack test-jvm test-spark test-pure test-dags test-edge test-flink test-shop

# The plus sign shows its lines as they come; the others' come when they are done.
test-stack:
	+$(PYTHON) -m pytest -m "stack and not shop" --durations=25

test-jvm: $(JOB_JAR)
	mvn --batch-mode --quiet --file udfs/jvm/pom.xml test -Dheadrace.build=$(HEADRACE_CACHE)/build/jvm-test

test-shop:
	$(PYTHON) -m pytest -m shop --durations=10

test-pure: $(READY) $(KAFKA_JARS) $(JOB_JAR) ## those that need no stack, no Spark, no Airflow: two minutes
	$(PYTHON) -m pytest -m "not flink and not spark and not airflow and not stack"

test-flink:
	$(PYTHON) -m pytest -m "flink and not stack"

test-spark:
	$(BATCH_PYTHON) -m pytest -m "spark and not stack"

test-edge:
	$(EDGE_PYTHON) -m pytest tests/edge/federated/test_flower.py tests/edge/federated/test_continuous_gaussian.py

test-dags:
	$(AIRFLOW_PYTHON) -m pytest -m "airflow and not stack" tests/dags

check: $(READY) ## ruff, format, mypy --strict
	$(ENV)/bin/ruff check .
	$(ENV)/bin/ruff format --check .
	$(ENV)/bin/mypy

up: $(READY) $(KAFKA_JARS) $(JOB_JAR) ## start Kafka, Redis and Flink
	@$(HEADRACE) up

down: ## end what `up` started
	@test ! -x $(HEADRACE) || $(HEADRACE) down

bench: $(READY) $(KAFKA_JARS) $(JOB_JAR) ## one benchmark: make bench NAME=session_features
	@$(PYTHON) -m benchmarks $(NAME)

soak: $(READY) $(KAFKA_JARS) $(JOB_JAR) $(BATCH_READY) $(SPARK_JARS) $(EDGE_READY) $(AIRFLOW_READY) # every test, also those too long for CI, and 20 seeded crash schedules
	$(PYTHON) -m pytest --soak -m "not flink and not spark and not airflow and not stack"
	$(BATCH_PYTHON) -m pytest --soak -m "spark and not stack"
	$(EDGE_PYTHON) -m pytest --soak tests/edge/federated/test_flower.py tests/edge/federated/test_continuous_gaussian.py
	$(AIRFLOW_PYTHON) -m pytest --soak -m "airflow and not stack" tests/dags
	$(PYTHON) -m pytest --soak -m stack

package: $(READY) $(JOB_JAR) ## what a cluster elsewhere needs to run the jobs, in dist/
	@$(HEADRACE) package

lock: $(UV) # resolve infra/requirements/*.in anew
	for name in streaming batch edge airflow; do \
	  $(UV) pip compile --quiet --upgrade --python-version 3.11 $(REQUIREMENTS)/$$name.in -o $(REQUIREMENTS)/$$name.txt || exit 1; \
	done
	$(UV) pip compile --quiet --upgrade --python-version 3.11 -c $(REQUIREMENTS)/streaming.txt $(REQUIREMENTS)/dev.in -o $(REQUIREMENTS)/dev.txt

help: ## this list
	@grep -E '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## /\1\t/' | while IFS="$$(printf '\t')" read -r target text; do printf '  make %-10s %s\n' "$$target" "$$text"; done

# Debian ships venv apart from python3; root installs it.
$(UV):
	python3 -m venv $(HEADRACE_CACHE)/uv || { apt-get update -qq && apt-get install -qq -y python3-venv && python3 -m venv $(HEADRACE_CACHE)/uv; }
	$(HEADRACE_CACHE)/uv/bin/pip install --quiet --disable-pip-version-check -r $(REQUIREMENTS)/uv.txt

$(READY): $(REQUIREMENTS)/streaming.txt $(REQUIREMENTS)/dev.txt pyproject.toml | $(UV)
	$(UV) venv --quiet --allow-existing --python 3.11 $(ENV)
	$(UV) pip sync --quiet --python $(PYTHON) $(REQUIREMENTS)/streaming.txt $(REQUIREMENTS)/dev.txt
	$(UV) pip install --quiet --python $(PYTHON) --no-deps --editable .
	@touch $@

# The other environments: `make batch`, `make edge`, `make airflow`. PyPI's torch brings CUDA's libraries: 6 GB, linked from uv's cache.
batch edge airflow: %: $(HEADRACE_CACHE)/env/%/.ready
batch: $(SPARK_JARS)

$(HEADRACE_CACHE)/env/%/.ready: $(REQUIREMENTS)/%.txt $(REQUIREMENTS)/test.in pyproject.toml | $(READY)
	@$(HEADRACE) install $*

$(SPARK_JARS): infra/jars/spark/pom.xml | $(READY)
	@$(PYTHON) -m headrace.infra.stack.jars spark

$(KAFKA_JARS): infra/jars/broker/pom.xml | $(READY)
	@$(PYTHON) -m headrace.infra.stack.jars kafka

$(JOB_JAR): udfs/jvm/pom.xml $(shell find udfs/jvm/src/main -type f) | $(READY)
	@$(PYTHON) -m headrace.infra.stack.jars flink
