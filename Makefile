# Everything a contributor needs; `make help` lists it.

export CGO_ENABLED ?= 0

# Of those that build what is released: the architectures (amd64 arm64; an image's is
# this machine's), the container engine (docker, or podman), and the OpenPGP key that
# signs the release and the apt repository, as gpg finds it.
export ARCH ENGINE KEY

GO          ?= go
FUZZTIME    ?= 1m
SOAK        ?= 30m
STATICCHECK  = honnef.co/go/tools/cmd/staticcheck@v0.8.2
GOVULNCHECK  = golang.org/x/vuln/cmd/govulncheck@v1.1.4

# The race detector is written in C.
RACE := $(shell command -v $$($(GO) env CC 2>/dev/null) >/dev/null 2>&1 && echo -race)

help: ## Print this
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-15s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

# A Go before 1.21 only says that it cannot parse go.mod; a newer one downloads what it needs.
go:
	@reason=$$($(GO) list -m 2>&1) || { \
		echo "Go $$(awk '$$1 == "go" { print $$2 }' go.mod) or newer is needed, but \"$(GO)\" cannot build it: $$(echo "$$reason" | tail -n 1)"; exit 1; } >&2

build: go ## Build the daemon and the sandbox into bin/, static
	@echo "compiling the daemon and the sandbox; the first time this takes a minute or two, without a word"
	$(GO) build -trimpath -ldflags "-s -w -X main.commit=$$(debian/release/commit)" -o bin/ ./cmd/...

demo: ## Watch the daemon work against a sandbox, until Ctrl-C; FLAGS are the sandbox's
	@$(MAKE) --no-print-directory build
	@exec bin/crisp-status-sandbox --interval 4s $(FLAGS) -- bin/crisp-status-local -c '{config}'

demo-cluster: ## Watch three daemons of which one is on duty, and kill any of them, until Ctrl-C; FLAGS as above
	@$(MAKE) --no-print-directory build
	@exec bin/crisp-status-sandbox --interval 4s --members 3 $(FLAGS) -- bin/crisp-status-local -c '{config}'

pictures: build ## Draw the pictures of README again, with chromium
	.github/pictures/draw

test: go ## Run all tests, with the race detector where there is a C compiler
ifeq ($(RACE),)
	@echo "no C compiler is found: the tests run without the race detector"
endif
	CGO_ENABLED=$(if $(RACE),1,0) $(GO) test $(RACE) -p 4 -parallel 8 ./...

check: ## Run all that a change must pass
	@test -z "$$(gofmt -l cmd internal debian)" || { gofmt -d cmd internal debian; exit 1; }
	$(GO) vet -tags install,faults,cluster,newer ./...
	$(GO) fix -tags install,faults,cluster,newer -diff ./...
	$(GO) run $(STATICCHECK) -tags install,faults,cluster,newer ./...
	$(MAKE) test

generate: ## Write the commands of the manual page and the completions again, from their definitions
	GENERATE=1 $(GO) test -count 1 -run '^TestGenerated$$' ./cmd/crisp-status-local

vulnerabilities: ## Look for known vulnerabilities in what is linked (asks the public database)
	$(GO) run $(GOVULNCHECK) ./...

# What a script of FuzzPage meets differs from run to run, so most of the time would go
# into the search for a shorter one with the same coverage.
fuzz: ## Run every fuzz target for FUZZTIME (1m)
	@grep -rho --include='*_test.go' 'func Fuzz[A-Za-z]*' internal cmd | cut -d' ' -f2 | while read -r target; do \
		package=$$(dirname "$$(grep -rl --include='*_test.go' "func $$target(" internal cmd)"); \
		echo "$$package $$target"; \
		$(GO) test -run '^$$' -fuzzminimizetime 10x -fuzz "^$$target\$$" -fuzztime $(FUZZTIME) "./$$package" || exit 1; \
	done

fuzz-daemon: ## Run the daemon for FUZZTIME (1m) beside servers that answer random and mutated bytes; as root
	$(GO) test -tags faults -c -o bin/faults.test ./cmd/crisp-status-local/faults
	@cd cmd/crisp-status-local/faults && FUZZTIME=$(FUZZTIME) exec $(CURDIR)/bin/faults.test -test.run '^TestGarbage$$' -test.timeout 24h -test.v

bench: ## Measure what a probe and a report cost, beside their limits (on one CPU: what waking another costs is noise)
	$(GO) test -run '^$$' -bench . -benchtime 1x -cpu 1 ./cmd/crisp-status-local

# At the default interval, since the share of a core depends on it. From the end of
# the first cycle to the end of the second, 150 s after the start, is a whole one.
scale: build ## Run the daemon at 1,000, 10,000 and 100,000 replicas and print what it costs
	@exec bin/crisp-status-sandbox --replicas 1000,10000,100000 --kinds tcp,http,icmp --api-delay 50ms \
		--interval 120s --cycles 2 --log-level error -- bin/crisp-status-local -c '{config}'

scale-simulated: ## Simulate up to 1,000,000 replicas, four daemons and a slow network in faked time; takes minutes and 3 GB
	CRISP_SCALE=1 $(GO) test -count 1 -timeout 3h -run '^TestScale$$' -v ./cmd/crisp-status-local

deb: ## Build the Debian packages into dist/, for ARCH (amd64 arm64)
	debian/release/deb $(ARCH)

apt-repo: ## Add the packages of dist/ to the apt repository dist/apt, signed with KEY
	debian/release/apt-repo

image: ## Build the container image, with ENGINE (docker, or podman)
	debian/release/image

release: ## Build all that a release consists of into dist/, signed with KEY: HEAD must have its tag
	debian/release/release

# With as many generated cases as find what few do not.
test-peers: ## Compare with curl, getent, firewalls; try Prometheus, Chromium, shells; as root, it installs what it needs from Debian
	debian/tests/prepare peers
	CRISP_REQUIRE_TOOLS=1 CRISP_DIFFERENTIAL=20000 CRISP_POLICY_ROUNDS=1000000 $(GO) test -count 1 -timeout 30m ./internal/probe
	CRISP_REQUIRE_TOOLS=1 $(GO) test -count 1 -timeout 20m -run 'Prometheus|Promtool|Browser|Completes' ./internal/endpoint ./cmd/crisp-status-sandbox ./cmd/crisp-status-local

# The tests wait more than they compute. Their program is lent to the machines they boot, so it is static.
# It is not run by "go test", which does not hand on the signal that ends it.
test-install: ## Install and run all of that for real; as root, it installs what it needs from Debian
	debian/tests/prepare install
	CGO_ENABLED=0 $(GO) test -tags install -c -o bin/install.test ./debian/tests
	@cd debian/tests && exec $(CURDIR)/bin/install.test -test.parallel 4 -test.timeout 60m -test.v

# As above, not by "go test". Its cases wait far more than they compute.
test-faults: ## Break everything around the daemon for real, in namespaces; as root, it installs what it needs from Debian
	debian/tests/prepare faults
	$(GO) test -tags faults -c -o bin/faults.test ./cmd/crisp-status-local/faults
	@cd cmd/crisp-status-local/faults && exec $(CURDIR)/bin/faults.test -test.skip '^TestSoak$$' -test.parallel $$((6 * $$(nproc))) -test.timeout 40m -test.v

# As above. Most of it waits, for leases and the time-outs of others.
test-cluster: ## Break several daemons, their etcd and their network for real, in namespaces; as root, it installs what it needs from Debian
	debian/tests/prepare cluster
	$(GO) test -tags cluster -c -o bin/cluster.test ./cmd/crisp-status-local/cluster
	@cd cmd/crisp-status-local/cluster && exec $(CURDIR)/bin/cluster.test -test.parallel 10 -test.timeout 5h -test.v

soak: ## Run the daemon for SOAK (30m) with replicas that flap and an API that fails, at random; as root
	$(GO) test -tags faults -c -o bin/faults.test ./cmd/crisp-status-local/faults
	@cd cmd/crisp-status-local/faults && SOAK=$(SOAK) exec $(CURDIR)/bin/faults.test -test.run '^TestSoak$$' -test.timeout 24h -test.v

clean: ## Remove what was built
	rm -rf bin dist

.PHONY: help go build demo demo-cluster pictures test check generate vulnerabilities fuzz fuzz-daemon bench scale scale-simulated deb apt-repo image release test-peers test-install test-faults test-cluster soak clean
