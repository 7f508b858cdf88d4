# Builds the Debian package in one stage, and installs it in another. `--build-arg DEBIAN=bookworm` selects another release. With
# `--target package --output .` one machine builds packages for several releases.
#
#   tools/pin_images.py
#   docker build -t stakeout .
#   docker run -d --name stakeout --restart on-failure --read-only --cap-drop ALL --security-opt no-new-privileges \
#     -v ./config:/etc/stakeout:ro -v stakeout-state:/var/lib/stakeout -v stakeout-cache:/var/cache/stakeout \
#     -v stakeout-pictures:/var/spool/stakeout stakeout
#
# Write `listen: 127.0.0.1:9464` into the configuration: the health check below uses it, with the token if there is one.

# The images, one line for each release. `tools/pin_images.py` writes the digests that the registry has for these tags.
ARG DEBIAN=trixie
FROM rust:1-slim-bookworm AS rust-bookworm
FROM rust:1-slim-trixie AS rust-trixie
FROM debian:bookworm-slim AS debian-bookworm
FROM debian:trixie-slim AS debian-trixie

FROM rust-${DEBIAN} AS build
WORKDIR /src
# A layer of its own, so that a change of the program does not download everything again.
COPY tools/setup.sh tools/setup.sh
RUN tools/setup.sh package
COPY . .
RUN deb=$(tools/package.sh) && mkdir /packages && mv "$deb" /packages/

FROM scratch AS package
COPY --from=build /packages/ /

FROM debian-${DEBIAN}
# The package needs tools that create its user and its folders. These two are enough; a container has no systemd.
RUN --mount=type=bind,from=build,source=/packages,target=/tmp/packages \
    apt-get update \
 && apt-get install -y --no-install-recommends ca-certificates systemd-standalone-sysusers systemd-standalone-tmpfiles tzdata /tmp/packages/*.deb \
 && rm -rf /var/lib/apt/lists/* \
 && install -d -o stakeout -g stakeout /var/cache/stakeout

# The folders for state and cache, in the variables that systemd would set.
ENV STATE_DIRECTORY=/var/lib/stakeout CACHE_DIRECTORY=/var/cache/stakeout
VOLUME ["/var/lib/stakeout", "/var/cache/stakeout", "/var/spool/stakeout"]
USER stakeout
# The first start may download several gigabytes of model.
HEALTHCHECK --interval=30s --timeout=5s --start-period=10m \
  CMD ["/usr/bin/stakeout", "health", "--config", "/etc/stakeout/stakeout.yaml"]
ENTRYPOINT ["/usr/bin/stakeout"]
CMD ["run", "--config", "/etc/stakeout/stakeout.yaml"]
