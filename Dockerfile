# The image of a release: the daemon, the certificates of public authorities, the licenses of what is in it, nothing else.

ARG GO_VERSION=1.26

# The machine's own platform where the engine does not know BUILDPLATFORM.
ARG OWN_PLATFORM=linux/amd64

# The compiler is never emulated, whatever it compiles for.
FROM --platform=${BUILDPLATFORM:-$OWN_PLATFORM} golang:${GO_VERSION} AS build

WORKDIR /source
COPY . .

# The architecture of the image, the machine's own if empty. A default would
# override what BuildKit says.
ARG TARGETARCH

# The date of all files, so that the same source makes the same layer.
ARG SOURCE_DATE_EPOCH=0

RUN umask 022 \
 && mkdir -p /image/usr/local/bin /image/usr/share/doc/crisp-status-local /image/etc/ssl/certs \
 && { [ -d vendor ] || go mod vendor; } \
 && debian/release/binary "$TARGETARCH" /image/usr/local/bin/crisp-status-local \
 && cat LICENSE >/image/usr/share/doc/crisp-status-local/LICENSE \
 && debian/release/notices >/image/usr/share/doc/crisp-status-local/NOTICES \
 && cat /etc/ssl/certs/ca-certificates.crt >/image/etc/ssl/certs/ca-certificates.crt \
 && find /image -exec touch -d "@$SOURCE_DATE_EPOCH" {} +

FROM scratch

LABEL org.opencontainers.image.title="Crisp Status Local" \
      org.opencontainers.image.description="Watches the hosts that your Crisp Status page cannot reach, and reports on them" \
      org.opencontainers.image.version="2.1.0" \
      org.opencontainers.image.licenses="MPL-2.0" \
      org.opencontainers.image.vendor="Crisp IM SARL" \
      org.opencontainers.image.url="https://github.com/crisp-im/crisp-status-local" \
      org.opencontainers.image.source="https://github.com/crisp-im/crisp-status-local" \
      org.opencontainers.image.documentation="https://github.com/crisp-im/crisp-status-local#readme"

COPY --from=build /image /

HEALTHCHECK --interval=30s --timeout=10s --start-period=30s \
  CMD ["crisp-status-local", "--healthcheck", "-c", "/etc/crisp-status-local.cfg"]

# There is no USER: root alone can read a configuration that is root's secret.
CMD ["crisp-status-local", "-c", "/etc/crisp-status-local.cfg"]
