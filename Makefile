# Everything that is built, downloaded or started lives in .build/.
.DEFAULT_GOAL := help
SHELL := /bin/bash

GO_FILES := $(wildcard $(shell git ls-files "*.go" go.mod go.sum manifest/schema.json))
IMAGE_FILES := $(wildcard $(shell git ls-files components Dockerfile Dockerfile.dockerignore docker-bake.hcl hack))

.PHONY: help
help: ## Show this list
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/  make \1\t\2/p' $(MAKEFILE_LIST) | expand -t 24

.PHONY: demo
demo: ## Build lkx, its images and examples/minimal.yml, and boot it (installs what it needs)
	@hack/demo.sh

.PHONY: test
test: ## Run all tests: unit, golden, conformance, end-to-end with BuildKit and QEMU
	@hack/test.sh

.PHONY: test-full
test-full: ## The same, and what takes long: fuzzing, more boots
	@LKX_TEST_FULL=1 hack/test.sh

.PHONY: lint
lint: ## gofumpt, go vet, staticcheck, and that generated files are fresh
	@hack/lint.sh

.PHONY: bench
bench: build images ## Measure builds beside what the machine allows, into docs/benchmarks.md (BENCH="-quick -rows local")
	@go run ./bench -page docs/benchmarks.md $(BENCH)

.PHONY: bench-writers
bench-writers: ## Compare our file systems and disk images with other programs': make bench-writers TREE=DIR
	@LKX_BENCH=$(or $(TREE),/usr/bin) go test -count=1 -run '^TestWriters$$' -v ./formats

.PHONY: bench-boot
bench-boot: images build ## Measure how examples/minimal.yml boots, beside an init like LinuxKit's: make bench-boot BOOTS=5
	@LKX_BENCH_BOOT=$(or $(BOOTS),5) LKX_BENCH_FILL=$(FILL) hack/with.sh go test -count=1 -timeout 60m -run '^TestBenchBoot$$' -v ./e2e

.PHONY: build
build: .build/bin/lkx ## Build .build/bin/lkx

.build/bin/lkx: $(GO_FILES)
	CGO_ENABLED=0 go build -trimpath -ldflags "-s -w" -o $@ ./cmd/lkx

.PHONY: images
images: .build/images/index.json ## Build the frontend and the component images into .build/images

.build/images/index.json: $(GO_FILES) $(IMAGE_FILES)
	@hack/tools.sh
	@hack/daemon.sh start
	@hack/images.sh

.PHONY: sizes
sizes: images ## Write the sizes of the images into docs/components.md
	@go run ./internal/sizes .build/images docs/components.md

.PHONY: push
push: images ## Push them to a registry: make push TO=ghcr.io/me
	@hack/push.sh "$(TO)"

.PHONY: clean
clean: ## Stop the daemons and remove .build
	@hack/daemon.sh stop
	@rm -rf .build
