# Weir's image for those who have a daemon: `docker build -t weir.dev/weir:0.1.0 .`
#
# `cargo xtask image` makes the same without one, and is what the project itself uses. What is in it stands there alone: xtask/src/image/mod.rs.
FROM rust:1.95-bookworm AS build
WORKDIR /weir
COPY . .
RUN cargo xtask image --files /image

FROM scratch
COPY --from=build /image /
USER 65532:65532
ENV PATH=/usr/local/bin
ENTRYPOINT ["/usr/local/bin/weir"]
