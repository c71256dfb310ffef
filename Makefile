# make is the only door: CI calls the same targets.
SHELL := /bin/sh
.DEFAULT_GOAL := help

GOTESTSUM   := go run gotest.tools/gotestsum@v1.13.0
STATICCHECK := go run honnef.co/go/tools/cmd/staticcheck@v0.8.2
REPORT      := test-report.json
# The race detector needs a C compiler.
RACE        := $(shell command -v $$(go env CC) >/dev/null 2>&1 && echo -race)
FUZZTIME    ?= 1m
BENCH       ?= .
SOAK        ?= 5m
CHAOS       ?= 5m

.PHONY: help
help: ## List the targets
	@sed -n 's/^\([a-z-]*\):.*## /\1|/p' $(MAKEFILE_LIST) | while IFS='|' read -r name text; do printf '  %-11s %s\n' "$$name" "$$text"; done

.PHONY: run
run: ## Serve the example app; on SQLite unless the environment or .env names a PostgreSQL
	@go build -o bin/app ./example/app && exec bin/app serve

.PHONY: test
test: ## Run every test on SQLite and a real PostgreSQL, with the race detector
	@$(GOTESTSUM) --format pkgname --jsonfile $(REPORT) -- $(RACE) -shuffle=on -timeout 25m ./...; status=$$?; \
	(cd interop && CGO_ENABLED=0 go test ./...) || status=1; \
	passed() { grep '"Action":"pass"' $(REPORT) | grep -c "\"Test\":\"[^\"]*/$$1\""; }; \
	skipped=$$(grep '"Action":"skip"' $(REPORT) | grep -c '"Test":'); \
	echo "tests on sqlite: $$(passed sqlite), on postgresql: $$(passed postgresql)$(if $(RACE),,; no C compiler, so without the race detector)"; \
	missing=$$(grep '"Action":"output"' $(REPORT) | grep -c 'fxtest: no PostgreSQL'); \
	echo "skipped: $$skipped, for want of PostgreSQL: $$missing"; \
	if [ "$$missing" -gt 0 ]; then \
		echo "to run those: install PostgreSQL's server (Debian: postgresql) or set DBFX_TEST_POSTGRES_URL"; \
	fi; exit $$status

# The machine's own version and the newest of the others that npm has.
MATRIX ?= $(lastword $(sort $(wildcard /usr/lib/postgresql/*/bin))) 16.14.0-beta.17 17.10.0-beta.17 18.4.0-beta.17
.PHONY: test-matrix
test-matrix: ## Run the tests on several versions of PostgreSQL; wants npm, and MATRIX chooses
	.ci/matrix $(MATRIX)

.PHONY: cluster
cluster: ## Break a Patroni cluster under load and judge the data; wants patroni, etcd, haproxy, pgbouncer, pgpool2
	go run ./cluster

.PHONY: browser
browser: ## Open the status page in a real browser; wants chromium
	cd dbfx/status/browsertest && go test -timeout 15m ./...

.PHONY: alerts
alerts: ## Test the alert rules, and lint a scrape of the example; wants promtool (Debian: prometheus)
	cd example/prometheus && promtool check rules alerts.yml && promtool test rules alerts_test.yml
	go test -tags promtool -run TestMetrics_PassPromtool -count=1 ./example/app

.PHONY: check
check: verify test ## All that CI checks: format, vet, lint, build, tests with examples

.PHONY: verify
verify: ## Format, vet, lint and build, without the tests
	@unformatted=$$(gofmt -l $$(git ls-files '*.go')); [ -z "$$unformatted" ] || { echo "not gofmt-ed: $$unformatted"; exit 1; }
	go mod tidy -diff
	go build ./...
	GOOS=windows go build ./...
	go vet ./...
	cd interop && CGO_ENABLED=0 go vet ./...
	cd bench && go vet ./...
	cd dbfx/status/browsertest && go vet ./...
	$(MAKE) lint

.PHONY: lint
lint: ## Run staticcheck
	$(STATICCHECK) ./...

.PHONY: fmt
fmt: ## Format the code
	gofmt -w $$(git ls-files '*.go')

.PHONY: bench
bench: ## Run the benchmarks; BENCH=pattern chooses
	go test -run '^$$' -bench '$(BENCH)' ./fxtest
	cd bench && go test -run '^$$' -bench '$(BENCH)' ./...

.PHONY: soak
soak: ## Run everything at once on one SQLite file for SOAK, and look for what grows
	DBFX_SOAK=$(SOAK) go test -run 'TestSQLite_Soak' -count=1 -v -timeout 1h ./fxtest

.PHONY: chaos
chaos: ## Break PostgreSQL's line, backends and server under load for CHAOS, and judge the data
	DBFX_CHAOS=$(CHAOS) go test -run 'TestPostgres_Chaos' -count=1 -v -timeout 3h ./fxtest

.PHONY: fuzz
fuzz: ## Fuzz the parsers of URLs and of statements for FUZZTIME each
	go test -run '^$$' -fuzz FuzzParse -fuzztime $(FUZZTIME) ./dbfx/internal/dburl
	go test -run '^$$' -fuzz FuzzCheckControl -fuzztime $(FUZZTIME) ./dbfx/internal/engine

.PHONY: cover
cover: ## Show the coverage of the library by all tests
	go test -coverpkg=./dbfx/... -coverprofile=cover.out ./... && go tool cover -func=cover.out | tail -n 1
