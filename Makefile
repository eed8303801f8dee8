# overlayzfs: `make help` lists what there is.

GO       ?= go
BUILD    := build
VERSION  ?= $(shell git describe --tags --always --dirty 2>/dev/null || echo unknown)
COMMIT   ?= $(shell git rev-parse HEAD 2>/dev/null || echo unknown)
# Of the commit: a release has no other times.
TIME     ?= $(shell git log -1 --format=%ct 2>/dev/null || echo 0)
ARCHES   ?= amd64,arm64
INFO     := github.com/overlayzfs/overlayzfs/internal/buildinfo
LDFLAGS  := -s -w -X $(INFO).version=$(VERSION) -X $(INFO).commit=$(COMMIT)
TOOLS    := $(BUILD)/tools
OZLAB    := $(abspath $(BUILD)/ozlab)
SUITE    ?= trixie

.DEFAULT_GOAL := help
.PHONY: help demo golden man test test-matrix test-unit test-vm test-conformance test-powercut test-e2e test-containerd test-imagestore test-deb bench bench-release lint vuln fuzz plugin build release release-check lab clean FORCE

help: ## Show this list
	@awk -F':.*## ' '/^[a-z-]+:.*## / {printf "  %-18s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

demo: plugin $(OZLAB) ## Show a real Docker engine on the driver, in the lab (built once, about 8 minutes)
	@scripts/demo $(OZLAB) $(BUILD)

test: ## What every change has to pass, within an hour; ends with "N passed, N failed, N skipped"
	@scripts/test all

test-matrix: ## Everything, on every guest of the lab and its stock kernel (hours without KVM)
	@scripts/test matrix

test-unit: ## What needs neither root nor ZFS (seconds)
	@scripts/test unit

test-vm: ## The packages' tests on real OpenZFS, in the lab
	@scripts/test vm

test-conformance: ## moby's and containerd's suites through the sockets
	@scripts/test conformance

test-powercut: ## Cut the power while layers are made, and judge what is left: ROUNDS times (default 20)
	@scripts/test powercut powercut-engine

test-e2e: ## A real dockerd with the managed plugin as its storage driver
	@scripts/test e2e

test-containerd: ## A real containerd, and its CRI, on the snapshotter (SUITE=forky: containerd 2.1)
	@SUITE=$(SUITE) scripts/test containerd containerd-faults

test-deb: ## The Debian package in the lab: installed, used, upgraded, removed
	@SUITE=$(SUITE) scripts/test deb

test-imagestore: ## Docker 28 with the containerd image store on the snapshotter; suite forky
	@SUITE=forky scripts/test imagestore

bench: lab plugin build ## The race against moby's drivers, 35 minutes; ROWS=regexp chooses rows
	@scripts/bench $(OZLAB) $(BUILD) $(VERSION)

bench-release: ## Keep the last race as the one later races are compared with
	cd integration && $(GO) run ./cmd/benchreport --store --release bench/release.json $(abspath $(BUILD))/bench/report.json

lint: $(TOOLS)/golangci-lint ## Vet and lint the modules
	$(GO) vet ./... && $(GO) vet -tags vm ./... && $(GO) vet -tags man ./cmd/overlayzfs
	cd integration && $(GO) vet ./... && $(GO) vet -tags vm,lab ./...
	$(TOOLS)/golangci-lint run --allow-serial-runners ./...
	$(TOOLS)/golangci-lint run --allow-serial-runners --build-tags vm ./...
	cd integration && $(abspath $(TOOLS))/golangci-lint run --allow-serial-runners --build-tags vm,lab ./...
	cd release && $(GO) vet ./... && $(GO) vet -tags release ./... && $(abspath $(TOOLS))/golangci-lint run --allow-serial-runners --build-tags release ./...

vuln: $(TOOLS)/govulncheck ## Look for known vulnerabilities (needs the vulnerability database; VULNDB names another)
	$(TOOLS)/govulncheck $(if $(VULNDB),-db $(VULNDB)) ./...

fuzz: ## Fuzz every decoder for FUZZTIME each (default 30s)
	@scripts/fuzz

plugin: $(BUILD)/overlayzfs-plugin ## Leave build/plugin/{config.json,rootfs}, ready for `docker plugin create`
	@scripts/make-plugin $(BUILD) $(VERSION) $(COMMIT)

build: $(BUILD)/overlayzfs-plugin $(BUILD)/overlayzfs-snapshotter $(BUILD)/overlayzfs ## Build the doors' binaries and the operator's command

release: $(TOOLS)/release ## Build what is published into build/release: plugin, programs, Debian package, for amd64 and arm64
	$(TOOLS)/release --version $(VERSION) --commit $(COMMIT) --time $(TIME) --arch $(ARCHES) --out $(BUILD)/release $(if $(SIGN),--sign $(SIGN))

release-check: ## Build it twice, from two directories and with an empty cache, and compare every byte (minutes)
	cd release && $(GO) test -tags release -timeout 60m -count 1 -v -run TestRelease .

man: $(BUILD)/overlayzfs ## Write manual pages and shell completions of the operator's command to build/man, build/completion
	@rm -rf $(BUILD)/man $(BUILD)/completion && mkdir -p $(BUILD)/completion
	$(GO) run -tags man ./cmd/overlayzfs man $(abspath $(BUILD))/man
	for shell in bash zsh fish; do $(BUILD)/overlayzfs completion $$shell >$(BUILD)/completion/overlayzfs.$$shell || exit; done

golden: ## Rewrite the transcripts of the operator's command in testdata
	$(GO) test ./cmd/overlayzfs -run . -update

lab: $(OZLAB) ## Build and cache the machine that tests run in
	@$(OZLAB) build --suite $(SUITE)

clean: ## Remove what was built here; the lab's cache stays
	rm -rf $(BUILD)

# Go knows best what is up to date.
$(BUILD)/overlayzfs-plugin $(BUILD)/overlayzfs-snapshotter $(BUILD)/overlayzfs: FORCE
	CGO_ENABLED=0 $(GO) build -trimpath -ldflags "$(LDFLAGS)" -o $@ ./cmd/$(@F)

$(TOOLS)/release: FORCE
	cd release && CGO_ENABLED=0 $(GO) build -trimpath -o $(abspath $@) .

$(OZLAB): FORCE
	cd integration && CGO_ENABLED=0 $(GO) build -trimpath -o $@ ./cmd/ozlab

$(TOOLS)/% $(abspath $(TOOLS))/%: tools/go.mod
	@mkdir -p $(TOOLS)
	$(GO) build -modfile=tools/go.mod -o $@ $$($(GO) list -modfile=tools/go.mod -f '{{.ImportPath}}' tool | grep '/$*$$')
