# The BuildKit frontend: one static program, which is also what the exec ops of
# its builds run.
FROM --platform=$BUILDPLATFORM golang:1.26-bookworm AS build
ARG TARGETARCH GOPROXY GOSUMDB
WORKDIR /src
COPY . .
RUN --mount=type=cache,target=/go/pkg/mod --mount=type=cache,target=/root/.cache/go-build \
    CGO_ENABLED=0 GOARCH=$TARGETARCH go build -trimpath -ldflags "-s -w" -o /out/lkx-frontend ./cmd/frontend

FROM scratch
LABEL org.opencontainers.image.title="lkx" \
      org.opencontainers.image.description="builds operating systems from a manifest, in BuildKit" \
      org.opencontainers.image.source="https://github.com/lkx-os/lkx" \
      org.opencontainers.image.licenses="Apache-2.0" \
      moby.buildkit.frontend.network.none="true" \
      moby.buildkit.frontend.caps="moby.buildkit.frontend.inputs,moby.buildkit.frontend.subrequests,moby.buildkit.frontend.contexts"
COPY --from=build /out/lkx-frontend /lkx-frontend
ENTRYPOINT ["/lkx-frontend"]
