# docker build -t exit137 .
#
# Both bases are arguments, so that they can be pinned by digest or come from your own registry:
#
#   docker build --build-arg BASE=node:24-bookworm-slim@sha256:… --build-arg BUILD_BASE=node:24-bookworm@sha256:… .
#
# What BASE must have: node 24 in the PATH, /usr/bin/env of coreutils 8.30 or newer (the bundle's first line gives node
# its flags), certificates to trust, and dmesg of util-linux, by which the kernel log is read without its device. Debian's
# slim images have all of them; Alpine's dmesg and env, and images without a shell, do not do. BUILD_BASE needs npm, too.
ARG BUILD_BASE=node:24-bookworm-slim
ARG BASE=node:24-bookworm-slim

FROM ${BUILD_BASE} AS build
WORKDIR /exit137
# First what changes seldom: the layer with the packages is used again.
COPY package.json package-lock.json .npmrc ./
RUN npm ci --ignore-scripts --no-audit --loglevel=error
COPY . .
RUN npm run --silent build \
  && mkdir -p /image/opt/exit137 /image/usr/local/bin /image/var/lib/exit137 \
  && cp dist/main.mjs dist/main.mjs.LEGAL.txt LICENSE /image/opt/exit137/ \
  && chmod -R a+rX /image \
  && chmod 1777 /image/var/lib/exit137 \
  && ln -s /opt/exit137/main.mjs /image/usr/local/bin/exit137

FROM ${BASE}
ARG VERSION=0.1.0
LABEL org.opencontainers.image.title="exit137" \
  org.opencontainers.image.description="Why did that container die? OOM kills, exits, restarts and memory of every container on a node, as OpenTelemetry." \
  org.opencontainers.image.licenses="Apache-2.0" \
  org.opencontainers.image.version="${VERSION}"
# The bundle, its licences, and a name for it in the PATH: nothing else.
COPY --from=build /image/ /
# One arena for all threads of the C library; more of them only hold memory that is not used.
ENV NODE_ENV=production MALLOC_ARENA_MAX=1
# Nobody. Reads cgroups and /proc; the sockets of runtimes and the kernel log are root's: --user 0.
USER 65532:65532
WORKDIR /
# By node, as there may be no curl. Asks the extension health_check, which CMD sets up.
HEALTHCHECK --interval=30s --timeout=5s --start-period=10s \
  CMD ["node", "--max-semi-space-size=1", "--single-threaded", "-e", "require('node:http').get('http://127.0.0.1:13133/', ({ statusCode }) => process.exit(statusCode === 200 ? 0 : 1)).on('error', () => process.exit(1))"]
ENTRYPOINT ["/usr/local/bin/exit137"]
# Where no --config is given: the host is expected at /host, and OTEL_EXPORTER_OTLP_ENDPOINT tells where to send.
CMD ["--set", "receivers.container_lifecycle.root_path=/host", "--set", "extensions.health_check.endpoint=127.0.0.1:13133", "--set", "service.extensions=[health_check]"]
