# `make help` lists every target. Nothing here needs an AWS account, a token, a login or Docker.
SHELL := bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help
MAKEFLAGS += --no-print-directory

UV_VERSION := 0.13.9
PYTHON := .venv/bin/python
UV := .venv/bin/uv
CLOUD := .local/venvs/cloud/bin/localcloud
STAGE ?= local

# Where the local cloud lives; the tests use their own.
export ORDERFLOW_STATE ?= $(CURDIR)/.local/cloud
export ORDERFLOW_PORT ?= 4566
export ORDERFLOW_POSTGRES_PORT ?= 5466
export npm_config_update_notifier := false

# ── set-up ──────────────────────────────────────────────────────────────────────────────────────

.PHONY: help
help: ## List every target
	@grep -hE '^[a-z0-9-]+:.*## ' $(MAKEFILE_LIST) | sort | awk -F ':.*## ' '{printf "  \033[36m%-18s\033[0m %s\n", $$1, $$2}'

.PHONY: setup
setup: .local/stamps/dev .local/stamps/cloud .local/stamps/runtime .local/stamps/node ## Install all that the project needs, into this folder only

.local/stamps/uv: tools/check_versions.sh
	@tools/check_versions.sh
	@mkdir -p .local/stamps
	@echo "python: creating .venv" >&2
	@"$$(tools/check_versions.sh python)" -m venv --clear .venv
	@$(PYTHON) -m pip install --quiet --disable-pip-version-check uv==$(UV_VERSION)
	@touch $@

.local/stamps/dev: .local/stamps/uv pyproject.toml constraints.txt shared/pyproject.toml
	@echo "python: installing the developers' tools" >&2
	@$(UV) pip install --quiet --python .venv --group dev -c constraints.txt -e 'shared[migrations]'
	@$(PYTHON) -m compileall -q -j 0 .venv/lib # where Python is told to write none, each run would compile
	@touch $@

.local/stamps/cloud: .local/stamps/uv localcloud/requirements.lock localcloud/pyproject.toml
	@echo "python: installing the local cloud (LocalStack and Postgres)" >&2
	@$(UV) venv --quiet --allow-existing --python .venv/bin/python .local/venvs/cloud
	@$(UV) pip install --quiet --compile-bytecode --python .local/venvs/cloud -r localcloud/requirements.lock
	@$(UV) pip install --quiet --python .local/venvs/cloud --no-deps -e localcloud
	@touch $@

.local/stamps/runtime: .local/stamps/uv localcloud/runtime.lock
	@echo "python: installing what Lambda's runtime holds" >&2
	@$(UV) venv --quiet --allow-existing --python .venv/bin/python .local/venvs/runtime
	@$(UV) pip install --quiet --compile-bytecode --python .local/venvs/runtime -r localcloud/runtime.lock
	@touch $@

# In an environment of its own: it brings a hundred packages, in other versions than ours.
.local/stamps/checkov: .local/stamps/uv tools/checkov.lock
	@echo "python: installing checkov" >&2
	@$(UV) venv --quiet --allow-existing --python .venv/bin/python .local/venvs/checkov
	@$(UV) pip install --quiet --python .local/venvs/checkov -r tools/checkov.lock
	@$(PYTHON) -m compileall -q -j 0 .local/venvs/checkov/lib
	@touch $@

.local/stamps/node: package.json package-lock.json $(wildcard tools/*/package.json)
	@tools/check_versions.sh
	@mkdir -p .local/stamps
	@echo "node: installing the Serverless Framework" >&2
	@npm ci --silent --no-audit --no-fund --ignore-scripts
	@touch $@

.PHONY: lock
lock: .local/stamps/uv ## Resolve every Python and Node version anew
	$(UV) pip compile --quiet --upgrade --python-version 3.13 --no-annotate --custom-compile-command "make lock" \
		--group dev --extra migrations shared/pyproject.toml -o constraints.txt
	echo checkov | $(UV) pip compile --quiet --upgrade --python-version 3.13 --no-annotate \
		--custom-compile-command "make lock" - -o tools/checkov.lock
	npm install --package-lock-only --no-audit --no-fund

# ── the local cloud ─────────────────────────────────────────────────────────────────────────────

.PHONY: up
up: setup ## Start the local cloud: Postgres and LocalStack, on loopback
	@$(CLOUD) up

.PHONY: down
down: ## Stop the local cloud; data stays
	@[ ! -x $(CLOUD) ] || $(CLOUD) down

.PHONY: status
status: setup ## Say what runs
	@$(CLOUD) status

.PHONY: clean
clean: down ## Stop the local cloud and delete .local/, all data and all environments
	rm -rf .local .venv node_modules services/*/.serverless platform/.serverless

.PHONY: env
env: setup ## Print what a shell needs: eval "$(make -s env)"
	@$(CLOUD) env
	@echo 'export PATH="$(CURDIR)/node_modules/.bin:$$PATH"'

.PHONY: logs
logs: setup ## Follow a service's function logs: make logs SERVICE=orders
	@$(CLOUD) logs "$${SERVICE:?which one? make logs SERVICE=orders}" --stage $(STAGE)

# ── deploy ──────────────────────────────────────────────────────────────────────────────────────

# Stage local is the local cloud; any other is on AWS, with the shell's usual credentials.
REACH = $(if $(filter local,$(STAGE)),eval "$$($(CLOUD) env)",:)

.PHONY: deploy
deploy: setup ## Deploy the five stacks: make deploy [STAGE=dev], which is on AWS (docs/deploying.md)
	@$(REACH) && npx --no-install osls-compose deploy --stage $(STAGE)

.PHONY: remove
remove: setup ## Remove the five stacks: make remove [STAGE=…]
	@$(REACH) && npx --no-install osls-compose remove --stage $(STAGE)

.PHONY: url
url: ## Print the API's base URL
ifeq ($(STAGE),local)
	@echo "http://127.0.0.1:$(ORDERFLOW_PORT)/_aws/execute-api/orders-$(STAGE)/$(STAGE)"
else
	@$(PYTHON) tools/api_url.py orders "$(STAGE)"
endif

.PHONY: stats-url
stats-url: ## Print the base URL of the figures: curl "$$(make -s stats-url)/stats?day=2026-11-24"
ifeq ($(STAGE),local)
	@echo "http://127.0.0.1:$(ORDERFLOW_PORT)/_aws/execute-api/notifications-$(STAGE)/$(STAGE)"
else
	@$(PYTHON) tools/api_url.py notifications "$(STAGE)"
endif

.PHONY: curl-examples
curl-examples: setup ## Print working curl lines for every call of the API
	@$(PYTHON) tools/curl_examples.py

.PHONY: openapi
openapi: setup ## Write the API's OpenAPI document and its page anew, from the models
	@PYTHONPATH=services/orders $(PYTHON) -m tools.openapi

.PHONY: openapi-release
openapi-release: setup ## And keep it as what the last release promised, unless it breaks that
	@PYTHONPATH=services/orders $(PYTHON) -m tools.openapi release

# ── operate ─────────────────────────────────────────────────────────────────────────────────────

.PHONY: dlq
dlq: setup ## List the dead letters: make dlq [STAGE=…] [FORMAT=json] [LIMIT=100]
	@$(REACH) && $(PYTHON) -m tools.dead_letters --stage "$(STAGE)" --limit "$${LIMIT:-100}" \
		list --format "$${FORMAT:-table}"

.PHONY: redrive
redrive: setup ## Put dead letters back: make redrive QUEUE=inventory-commands [ID=…] [DRY_RUN=1]
	@: "$${QUEUE:?which one? make redrive QUEUE=inventory-commands}"
	@$(REACH) && $(PYTHON) -m tools.dead_letters --stage "$(STAGE)" \
		redrive "$$QUEUE" $(if $(filter undefined,$(origin ID)),,--id="$$ID") $(if $(filter-out 0,$(DRY_RUN)),--dry-run)

.PHONY: parked
parked: setup ## List the orders that wait for an operator: make parked [STAGE=…] [FORMAT=json]
	@$(REACH) && $(PYTHON) -m tools.parked --stage "$(STAGE)" list --format "$${FORMAT:-table}"

.PHONY: resume
resume: setup ## Let a parked order go on: make resume ORDER=…
	@: "$${ORDER:?which one? make resume ORDER=…}"
	@$(REACH) && $(PYTHON) -m tools.parked --stage "$(STAGE)" resume "$$ORDER"

.PHONY: rebuild-stats
rebuild-stats: setup ## Make the shop's days anew from the tables: make rebuild-stats [STAGE=…]
	@$(REACH) && $(PYTHON) -m tools.stats --stage "$(STAGE)" rebuild

.PHONY: report
report: setup ## Report a day's sales: make report [DAY=2026-11-24] [AGAIN=1] [STAGE=…]
	@$(REACH) && $(PYTHON) -m tools.stats --stage "$(STAGE)" report $(if $(DAY),--day "$(DAY)") $(if $(filter-out 0,$(AGAIN)),--again)

.PHONY: check-invariants
check-invariants: setup ## Ask the audit whether the books balance: make check-invariants [PATIENCE="effects=0"]
	@if [ $(STAGE) = local ]; then eval "$$($(CLOUD) env)"; fi; $(PYTHON) -m tools.check_invariants $(STAGE) $(PATIENCE)

.PHONY: import
import: setup ## List products and receive stock from a CSV: make import FILE=demo/products.csv [STAGE=…]
	@: "$${FILE:?which one? make import FILE=demo/products.csv}"
	@$(REACH) && $(PYTHON) -m tools.import_stock --stage "$(STAGE)" -- "$$FILE"

# ── the demo ────────────────────────────────────────────────────────────────────────────────────

.PHONY: demo
demo: up deploy ## Set up, start, deploy, and watch three orders through their sagas
	@$(PYTHON) -m tools.demo

# ── tests ───────────────────────────────────────────────────────────────────────────────────────

# A cloud of the tests' own, so that a running `make up` is undisturbed.
TEST_CLOUD := ORDERFLOW_STATE=$(CURDIR)/.local/test ORDERFLOW_PORT=4676 ORDERFLOW_POSTGRES_PORT=5576

.PHONY: check
check: setup ## Lint, types, import directions
	$(PYTHON) -m ruff check .
	$(PYTHON) -m ruff format --check .
	$(PYTHON) tools/check_types.py
	PYTHONPATH=shared/src:services/orders:services/inventory:services/notifications:services/operations .venv/bin/lint-imports

.PHONY: test-services
test-services: setup ## Unit and integration tests, contracts, the saga's lint, the operators' programs
	$(PYTHON) -m pytest -n 2 shared/tests services tests/contracts tests/saga tests/chaos tests/operate tests/bench

.PHONY: test-domain-long
test-domain-long: setup ## The domains' stateful tests and races, much longer and never the same twice
	HYPOTHESIS_PROFILE=long $(PYTHON) -m pytest -n 2 --timeout 3600 --durations 5 \
		services/*/tests/integration/test_stateful.py services/inventory/tests/integration/test_last_item.py

.PHONY: test-artifacts
test-artifacts: setup .local/stamps/checkov ## Package every service and test what would be deployed
	$(PYTHON) -m pytest -n 2 tests/artifacts

.PHONY: test-localcloud
test-localcloud: setup ## The local cloud's own tests, against a real LocalStack
	$(PYTHON) -m pytest localcloud/tests

.PHONY: e2e
e2e: setup ## End-to-end tests against the cloud that runs (make up deploy)
	$(PYTHON) -m pytest -n 4 --dist worksteal tests/e2e

.PHONY: fuzz-api
fuzz-api: setup ## Try the API that runs against its document, at length: make fuzz-api EXAMPLES=300 SEED=7
	@.venv/bin/schemathesis --config-file tests/e2e/schemathesis.toml run services/orders/openapi.json \
		--url "$$($(MAKE) -s url)" --max-examples $${EXAMPLES:-200} $${SEED:+--seed $$SEED}

# What breaks on purpose, breaks under this: the services' own code says what must come of it.
CHAOS := PYTHONPATH=services/orders $(PYTHON) -m tests.chaos

.PHONY: chaos
chaos: up deploy ## Break every step of the saga in every way, and draw what came of it
	@$(CHAOS).matrix $(if $(ONLY),--only "$(ONLY)")

.PHONY: crash-test
crash-test: up deploy ## Crash anything at any time: make crash-test ORDERS=200 SEED=7
	@$(CHAOS).crash --orders $(or $(ORDERS),200) $(if $(SEED),--seed $(SEED))

.PHONY: test
test: ## Every test, on ports and a state folder of its own
	@$(MAKE) check test-services test-artifacts test-localcloud
	@trap '$(TEST_CLOUD) $(MAKE) down' EXIT; $(TEST_CLOUD) $(MAKE) up deploy crash-test e2e ORDERS=20 SEED=7

# ── operate ─────────────────────────────────────────────────────────────────────────────────────

.PHONY: reconcile
reconcile: setup ## Repair orders that no saga brings to an end: make reconcile [DRY_RUN=1] [STAGE=…]
	@$(PYTHON) tools/reconcile.py --stage $(STAGE) $(if $(filter-out 0,$(DRY_RUN)),--dry-run)

# ── measure ─────────────────────────────────────────────────────────────────────────────────────

.PHONY: bench-cold
bench-cold: setup ## Time every function's cold start, and draw docs/performance/cold_start.svg: ROUNDS=3
	@PYTHONPATH=services/orders $(PYTHON) -m bench.cold_start --rounds $${ROUNDS:-3} $${ONLY:-}

.PHONY: bench-memory
bench-memory: setup ## Time a cold start and warm calls at each memory setting; needs a control group
	@PYTHONPATH=services/orders $(PYTHON) -m bench.memory

.PHONY: bench-flow
bench-flow: setup ## Orders a second and placed → closed, beside an empty saga: make bench-flow [IN_FLIGHT="1 10 50"] [FAULTS="0.01 0.1"]
	@$(PYTHON) -m bench.flow $(if $(IN_FLIGHT),--in-flight $(IN_FLIGHT)) $(if $(FAULTS),--faults $(FAULTS)) $(if $(SEED),--seed $(SEED))

.PHONY: bench-order-profile
bench-order-profile: setup ## Measure what one order uses, for make cost: make bench-order-profile [ORDERS=10]
	@$(PYTHON) -m bench.order_profile --orders $${ORDERS:-10}

.PHONY: cost
cost: setup ## Price 1000 orders on AWS: make cost [ORDERS=1000] [PRICES=file] [SET="lambda.request=0"]
	@$(PYTHON) -m bench.cost --orders $${ORDERS:-1000} $(if $(PRICES),--prices "$(PRICES)") $(if $(SET),--set $(SET))

.PHONY: bench-import
bench-import: setup ## Time an import of 10^3 and 10^5 rows, and its memory: make bench-import SIZES="1000 100000"
	@PYTHONPATH=services/inventory $(PYTHON) -m bench.import_growth $${SIZES:-1000 100000}

.PHONY: standing-cost
standing-cost: setup ## What a stage on AWS costs at rest: make standing-cost STAGE=dev [SET="aurora.acu_hour=0.156"]
	@$(PYTHON) -m bench.standing_cost --stage $(STAGE) $(if $(SET),--set $(SET))

.PHONY: bench-audit
bench-audit: setup ## Time an audit of 10^3, 10^5 and 10^6 orders: make bench-audit SIZES="1000 100000"
	@PYTHONPATH=services/operations $(PYTHON) -m bench.audit_growth $${SIZES:-1000 100000 1000000}

.PHONY: bench-reconcile
bench-reconcile: setup ## Time the search of a reconciliation: make bench-reconcile SIZES="1000 100000"
	@PYTHONPATH=services/operations $(PYTHON) -m bench.reconcile_growth $${SIZES:-1000 100000 1000000}

.PHONY: bench-connections
bench-connections: setup ## Time kept and new connections, and count a crowd's: make bench-connections [ROUNDS=40]
	@$(PYTHON) -m bench.connections $${ROUNDS:-40}

.PHONY: bench-hot
bench-hot: setup ## Reservations/s beside pgbench, and what Powertools adds: make bench-hot [ROUNDS=3] [SECONDS_EACH=2]
	@PYTHONPATH=services/orders:services/inventory $(PYTHON) -m bench.hot $${ROUNDS:-3} $${SECONDS_EACH:-2}

.PHONY: bench-growth
bench-growth: setup ## Time place, get, list and reserve as the books grow: make bench-growth SIZES="1000 100000"
	@PYTHONPATH=services/orders:services/inventory $(PYTHON) -m bench.growth $${CALLS:-300} $${SIZES:-1000 100000 1000000}
