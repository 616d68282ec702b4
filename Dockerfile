# Builds the server and packs it alone:
#
#     docker build -t tokenrill .
#     docker run -p 8080:8080 tokenrill
#
# A configuration of your own: -v ./tokenrill.toml:/app/tokenrill.toml:ro, with keys by -e NAME.
# With a provider's key clients need keys too (docs/keys.md), or TOKENRILL_AUTH_OPEN=true.
# Templates of your own: -v ./prompts:/app/prompts:ro

FROM rust:1-bookworm AS build
WORKDIR /src
COPY Cargo.toml Cargo.lock ./
COPY crates ./crates
COPY src ./src
# A member of the workspace: cargo reads its manifest, though it is not built.
COPY tests/tidy ./tests/tidy
RUN cargo build --profile dist --locked --bin tokenrill

FROM debian:bookworm-slim
RUN apt-get update \
    && apt-get install --yes --no-install-recommends ca-certificates \
    && rm -rf /var/lib/apt/lists/* \
    && useradd --system --uid 10001 --no-create-home --shell /usr/sbin/nologin tokenrill
COPY --from=build /src/target/dist/tokenrill /usr/local/bin/tokenrill
WORKDIR /app
COPY prompts ./prompts
# By number: Kubernetes sees from that alone that it is not root.
USER 10001
EXPOSE 8080
HEALTHCHECK --interval=10s --timeout=3s --start-period=5s --retries=3 CMD ["/usr/local/bin/tokenrill", "healthcheck"]
ENTRYPOINT ["/usr/local/bin/tokenrill"]
CMD ["--listen", "0.0.0.0:8080"]
