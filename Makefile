# trustdns: make help lists what can be made.

SHELL       := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c

GO       ?= go
FUZZTIME ?= 60s
ROUNDS   ?= 200
SEED     ?= 0
# INTEROP=require makes a missing peer a failure; otherwise its tests are skipped.
INTEROP  ?=

# One set of flags for all, so that the binary, the tests and the linters share
# what the compiler has made. Only the race detector needs cgo.
export INTEROP
export CGO_ENABLED := 0
export GOFLAGS     := $(strip $(filter-out -trimpath,$(GOFLAGS)) -trimpath)

BINARY := bin/coredns
TOOLS  := bin/tools

# Modules whose Go sources are ours: the one that is shipped, and one for tests
# that need clients of others.
MODULES := . test/interop

.DEFAULT_GOAL := help
.PHONY: help build run test race-server crash soak peers lint fuzz bench bench-update clean

help: ## lists the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "make %-12s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

build: ## compiles bin/coredns
	$(GO) run ./build

run: build ## serves Corefile.example on port 1053; Ctrl-C ends it
	@echo 'Serving Corefile.example on port 1053. Try:'
	@echo '    dig @127.0.0.1 -p 1053 www.example.org A +norec        # an answer, with AA'
	@echo '    dig @127.0.0.1 -p 1053 anything.apps.example.org A     # a wildcard'
	@echo '    dig @127.0.0.1 -p 1053 host.sub.example.org A          # a referral with glue'
	@echo '    printf "server 127.0.0.1 1053\nzone example.net\nupdate add new.example.net 300 A 192.0.2.7\nsend\n" \'
	@echo '        | nsupdate -y hmac-sha256:ddns.example.net:ZG9uJ3QgdXNlIHRoaXMgc2VjcmV0IGF0IGhvbWU='
	@echo '    dig @127.0.0.1 -p 1053 new.example.net A +norec        # what was just added'
	@exec $(BINARY) -conf Corefile.example -p 1053

# The packages below test/ drive the binary and the peers; of their output only
# what they say is shown, not the names of the tests that pass.
SAID := { grep -vE '^=== |^ *--- PASS|^PASS$$|\[no test files\]$$' || true; }

test: peers build ## runs all tests; as root it installs the peers' Debian packages
	$(GO) test -timeout 30m $$($(GO) list ./... | grep -v '/test\(/\|$$\)')
	TRUSTDNS_COREDNS=$(CURDIR)/$(BINARY) $(GO) test -v -timeout 30m ./test/... | $(SAID)
	TRUSTDNS_COREDNS=$(CURDIR)/$(BINARY) $(GO) -C test/interop test -v -timeout 30m ./... | $(SAID)
	CGO_ENABLED=1 $(GO) test -race -timeout 30m ./plugin/...

# A stalled transfer is ended by closing its connection while a write to it waits. The
# library has no other way, and notes the end in a field that the write has read before.
race-server: ## tests the whole server as built with -race; takes some six minutes
	CGO_ENABLED=1 $(GO) build -race -buildvcs=false -o $(BINARY)-race ./build/coredns
	GORACE=halt_on_error=1 TRUSTDNS_COREDNS=$(CURDIR)/$(BINARY)-race $(GO) test -v -count=1 -timeout 30m -skip '^TestStalledTransfers$$' ./test | $(SAID)
	GORACE=halt_on_error=1 TRUSTDNS_COREDNS=$(CURDIR)/$(BINARY)-race $(GO) -C test/interop test -v -count=1 -timeout 30m -run 'FastPath|^TestAnswers$$|^TestOdd$$' . | $(SAID)

crash: ## kills the server ROUNDS (200) times while it is updated; SEED repeats a run
	$(GO) test -v -count=1 -timeout 3h -run '^TestUpdates$$' ./test/crash -rounds $(ROUNDS) -seed $(SEED)

soak: build peers ## what make test does in part: 1000 transactions, 2000 answers for each kind of signed zone, ROUNDS (200) times two years; takes an hour
	TRUSTDNS_COREDNS=$(CURDIR)/$(BINARY) $(GO) test -v -count=1 -timeout 3h -run '^TestSigned(Transactions|Answers)$$' ./test -transactions 1000 -questions 2000 -delvs 2000 | $(SAID)
	$(GO) test -v -count=1 -timeout 3h -run '^TestSignedKills$$' ./test/crash -rounds $(ROUNDS) | $(SAID)
	$(GO) test -v -count=1 -timeout 3h -run '^TestLife$$' ./plugin/pkg/kasp -rounds $(ROUNDS) -seed $(SEED) | $(SAID)
	$(GO) test -v -count=1 -timeout 3h -run '^Test(SignedLife|RefreshIsBounded)$$' ./plugin/pkg/zonedb -rounds $(ROUNDS) -seed $(SEED) | $(SAID)

peers:
	@test/peers/install.sh

lint: $(TOOLS) ## gofumpt, go vet, golangci-lint; builds for other systems
	@unformatted=$$($(TOOLS)/gofumpt -l .); \
		if [ -n "$$unformatted" ]; then echo "not as gofumpt formats it:"; echo "$$unformatted"; exit 1; fi
	for module in $(MODULES); do \
		$(GO) -C $$module vet ./...; \
		(cd $$module && $(CURDIR)/$(TOOLS)/golangci-lint run ./...); \
	done
	GOARCH=arm64 $(GO) build -o /dev/null ./build/coredns
	GOOS=darwin $(GO) build ./plugin/pkg/...

$(TOOLS): test/tools/go.mod test/tools/go.sum
	$(GO) -C test/tools build -o $(CURDIR)/$(TOOLS)/ tool
	@touch $(TOOLS)

fuzz: ## runs every fuzz target for FUZZTIME (60s)
	@for module in $(MODULES); do \
		targets=$$($(GO) -C $$module test -list '^Fuzz' ./...); \
		awk '/^Fuzz/ { f[n++] = $$1 } /^ok/ { for (i = 0; i < n; i++) print $$2, f[i]; n = 0 }' <<<"$$targets" \
			| while read -r package name; do \
				echo "$$package $$name"; \
				$(GO) -C $$module test -run '^$$' -fuzz "^$$name\$$" -fuzztime $(FUZZTIME) -fuzzminimizetime 20x "$$package" </dev/null; \
			done; \
	done

bench: build peers ## measures us beside the peers
	TRUSTDNS_COREDNS=$(CURDIR)/$(BINARY) $(GO) run ./test/bench

bench-update: build peers ## measures dynamic updates beside the peers
	TRUSTDNS_COREDNS=$(CURDIR)/$(BINARY) $(GO) run ./test/bench -part updates

clean: ## removes what was made
	rm -rf bin
