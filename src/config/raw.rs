//! The keys of a configuration, as they are written: every known key stands here once and nowhere else.
//!
//! Times end in `_ms` or `_s`; `timeout`, `circuit_breaker_timeout` and the constructor's options keep the names they
//! always had and are milliseconds. 0 is a value everywhere. `null` means "no limit" for a limit that has a default,
//! and the same as leaving the key out for every other key.
//!
//! The comments are the documentation: `docs/configuration.md` and the JSON Schema are written from them.
//!
//! Nothing here can be printed: it holds secrets that are not yet [`Secret`](super::Secret)s.

use serde_json::Value;

use super::section::{Field, Read, Reader, section};
use super::shape::Shape;
use super::values::{Dict, Hidden, Millis, MillisOrP95, Object, Seconds, Text, Tree};

/// The sections by name, so that a key that stands in the wrong one can be sent to its own.
pub(super) const SECTIONS: &[(&str, &[&str])] = &[
    ("the top level", RawConfig::KEYS),
    ("an entry of providers", RawProvider::KEYS),
    ("an entry of models", RawModel::KEYS),
    ("routing", RawRouting::KEYS),
    ("routing.retry_budget", RawRetryBudget::KEYS),
    ("routing.breaker", RawBreaker::KEYS),
    ("qos", RawQos::KEYS),
    ("media", RawMedia::KEYS),
    ("health", RawHealth::KEYS),
    ("cache", RawCache::KEYS),
    ("budget", RawBudget::KEYS),
    ("prices", RawPrices::KEYS),
    ("server", RawServer::KEYS),
    ("server.jwt", RawJwt::KEYS),
    ("server.hmac", RawHmac::KEYS),
    ("an entry of server.hmac.clients", RawHmacClient::KEYS),
    ("server.tls", RawTls::KEYS),
    ("ensemble", RawEnsemble::KEYS),
    ("an entry of tasks", RawTask::KEYS),
    ("an entry of tenants", RawTenant::KEYS),
];

section! {
    struct RawConfig {
        /// For editors: where the schema of this file is, such as `./node_modules/llmpool/schema/config.schema.json`.
        /// The pool does not read it.
        schema as "$schema": Text,
        /// Whom the pool may ask. At least one.
        providers: Vec<Field<RawProvider>>,
        /// Who is asked, how often, and how long a call waits for it.
        routing: RawRouting,
        /// Bounds that no call passes.
        qos: RawQos,
        /// What the pool may fetch for providers that fetch nothing themselves.
        media: RawMedia,
        /// Whether providers are asked if they are up, beside the calls.
        health: RawHealth,
        /// Which answers are kept, and for how long.
        cache: RawCache,
        /// What the whole pool may spend. Default: no limit.
        budget: RawBudget,
        /// How several models answer together, where a call or a task wants that.
        ensemble: RawEnsemble,
        /// Kinds of work by name: who does it, how, and within what. A provider's `tasks` may name further ones, which have
        /// the defaults of this table. Default: none.
        tasks: Dict<RawTask>,
        /// Asked before the pool's own failure table; the first row that matches counts. Default: none.
        failures: Vec<Field<RawFailure>>,
        /// How the pool is served over HTTP, where it is.
        server: RawServer,
        /// On whose behalf calls are made, and within what. Default: none; then a call's `tenant` is a label that only
        /// keeps kept answers apart. As soon as there is one, a call of a tenant that is not among them is refused.
        tenants: Vec<Field<RawTenant>>,
    }
}

section! {
    struct RawProvider {
        /// Unique in the pool.
        name: Text,
        /// One of [`providers.md`](providers.md). A provider with neither type, key nor `base_url` is `ollama`, on this
        /// machine.
        kind as "type": Text,
        /// Asked for unless a call names another; as the service spells it.
        model: Text,
        /// Alias → the service's own name, or an object that says more of that model. A call's `model` picks the providers
        /// that serve it.
        models: Dict<Served>,
        /// Of all its models. Default: the catalogue's; `null` = no limit.
        context_window: u64,
        /// Of all its models. Default: the catalogue's.
        capabilities: Vec<Field<Text>>,
        /// The key alone, without `Bearer`. Either this or `api_keys`; services on this machine need none.
        api_key: Hidden,
        /// Several keys, used in turn.
        api_keys: Vec<Field<Hidden>>,
        /// With or without `/v1`, with or without a trailing slash; `https`, or `http` to this machine. Default: the
        /// service's.
        base_url: Text,
        /// Plain `http` to other hosts than this machine, for private networks. Default false.
        allow_http: bool,
        /// Lower is asked first. Default 1.
        priority: u32,
        /// Its part of the calls of its priority, where the behaviour is `weighted`. Default 1; 0 = only when a call names it.
        weight: u32,
        /// `false`: never asked. Default true.
        enabled: bool,
        /// It answers calls of these tasks, and calls of none. Default: all.
        tasks: Vec<Field<Text>>,
        /// Sent with every request to this provider. Values are treated as secrets.
        headers: Dict<Hidden>,
        /// OpenAI's header of that name.
        organization: Text,
        /// OpenAI's header of that name.
        project: Text,
        /// The classic address of `azure`; without it the `/openai/v1` one, where the model is the deployment.
        deployment: Text,
        /// Of `azure`; required beside `deployment`.
        api_version: Text,
        /// What becomes of a field that the provider does not take: `warn` leaves it out and names it in `warnings`,
        /// `error`
        /// refuses the call. Default `warn`.
        unsupported_params: Text,
        /// Fields of a request that are sent although the pool's tables say the provider or the model refuses them.
        allow_params: Vec<Field<Text>>,
        /// Fields of a request that are never sent.
        omit_params: Vec<Field<Text>>,
        /// Sent when a call says nothing. Default: not sent; at least 1.
        max_tokens: u32,
        /// Sent when a call says nothing, 0 to 2. Default: not sent.
        temperature: f64,
        /// Merged into the body of every chat as it is; the call's own `extra_body` goes over it, field by field. Default:
        /// nothing.
        extra_body: Tree,
        /// One attempt, ms; in a stream until its first content. Default: the pool's; `null` = no limit.
        timeout: Millis,
        /// DNS, TCP and TLS together. Default 5000; `null` = no limit.
        connect_timeout_ms: Millis,
        /// From sending to the first byte of the reply. Default: no limit.
        first_byte_timeout_ms: Millis,
        /// From sending to the first content of a stream. Default 30000; `null` = no limit.
        first_content_timeout_ms: Millis,
        /// Between two contents of a stream; comments and pings do not count. Default 30000; `null` = no limit.
        content_idle_timeout_ms: Millis,
        /// An unused connection is closed after this. Default 90000; 0 keeps no connection, `null` = no limit.
        connection_idle_timeout_ms: Millis,
        /// Requests under way to its host at once; each has a connection. Default: no limit; at least 1.
        max_connections: u32,
        /// Opens a connection when the pool starts. Default false.
        warm: bool,
        /// Reserved before sending; exact in any rolling minute. Default: no limit; 0 = never used.
        requests_per_minute: u32,
        /// Reserved before sending; the day is that of `day_timezone`. Default: no limit; 0 = never used.
        requests_per_day: u32,
        /// Prompts and answers together, in any rolling minute. Default: no limit; 0 = never used.
        tokens_per_minute: u64,
        /// Prompts and answers together, in the day of `day_timezone`. Default: no limit; 0 = never used.
        tokens_per_day: u64,
        /// Where the day of the daily limits begins at midnight, as the IANA names it. Default "UTC".
        day_timezone: Text,
        /// Attempts and open streams at once. Default: no limit; 0 = never used.
        max_concurrent: u32,
        /// Consecutive failures that open the breaker. Default 5; 0 or `null` = no breaker.
        circuit_breaker_threshold: u32,
        /// First open period, ms; doubles with every reopening. Default 60000.
        circuit_breaker_timeout: Millis,
        /// USD per 1,000 tokens. Default: unknown; with one of the two missing the cost is `null`.
        input_token_price: f64,
        /// USD per 1,000 tokens.
        output_token_price: f64,
        /// USD per million tokens: either this or `input_token_price`.
        input_price_per_million: f64,
        /// USD per million tokens: either this or `output_token_price`.
        output_price_per_million: f64,
        /// Prompt tokens read from the provider's cache. Default: as the other prompt tokens.
        cached_input_price_per_million: f64,
        /// Prompt tokens written to the provider's cache. Default: as the other prompt tokens.
        cache_write_price_per_million: f64,
        /// What this provider may be paid. Default: no limit; the pool's budget holds beside it.
        budget: RawBudget,
        /// "o200k_base", "cl100k_base" or the path of a `tokenizer.json`. Default: by the model's name.
        tokenizer: Text,
        /// `http`, `https` or `socks` URL; goes over the proxies of the environment. Default: `HTTPS_PROXY`, `HTTP_PROXY`, `ALL_PROXY` and `NO_PROXY` of the
        /// environment.
        proxy: Hidden,
        /// PEM file, trusted beside the platform's roots. `NODE_EXTRA_CA_CERTS` of the environment adds,
        /// `SSL_CERT_FILE` replaces.
        ca_file: Text,
    }
}

section! {
    /// One model of a provider; what is left out is as the provider says.
    struct RawModel {
        /// As the service spells it.
        model: Text,
        /// Tokens of the longest prompt; 0 = none fits, `null` = no limit.
        context_window: u64,
        /// Everything it can do.
        capabilities: Vec<Field<Text>>,
        /// What it costs, whatever its provider's prices are.
        prices: RawPrices,
    }
}

section! {
    /// What one model costs. As soon as one key is set, the others are unknown and not the provider's or the catalogue's.
    struct RawPrices {
        /// USD per 1,000 tokens.
        input_token_price: f64,
        /// USD per 1,000 tokens.
        output_token_price: f64,
        /// USD per million tokens: either this or `input_token_price`.
        input_price_per_million: f64,
        /// USD per million tokens: either this or `output_token_price`.
        output_price_per_million: f64,
        /// Prompt tokens read from the provider's cache. Default: as the other prompt tokens.
        cached_input_price_per_million: f64,
        /// Prompt tokens written to the provider's cache. Default: as the other prompt tokens.
        cache_write_price_per_million: f64,
    }
}

/// An entry of `models`: a name alone, or with what is to be known of it.
pub(super) enum Served {
    Name(Text),
    Entry(RawModel),
}

impl Read for Served {
    const EXPECTED: &'static str = "a string or an object";

    fn shape() -> Shape {
        Shape::Either(Text::shape, RawModel::shape)
    }

    fn read(value: &Value, path: &str, reader: &mut Reader<'_>) -> Option<Self> {
        match value {
            Value::String(_) => Text::read(value, path, reader).map(Self::Name),
            Value::Object(_) => RawModel::read(value, path, reader).map(Self::Entry),
            _ => reader.wrong(value, path),
        }
    }
}

section! {
    struct RawRouting {
        /// How providers of equal priority share the calls: `adaptive`, `weighted`, `combination` (in turn), `distribute` (in
        /// turn, whatever their priority) or `failover` (in the order written). Default `adaptive`.
        behaviour: Text,
        /// Further attempts after every eligible provider was asked once. Default 3; 0 still fails over.
        max_retries: u32,
        /// The wait before the first of them; times a random 0.5–1, and a provider's own hint wins. Default 1000; 0 =
        /// at once.
        retry_delay_ms: Millis,
        /// Each further wait is so many times longer. Default 2; 1 = every wait alike.
        backoff_multiplier: f64,
        /// The longest of these waits. Default 30000; `null` = no limit.
        max_backoff_ms: Millis,
        /// Default true; false asks only the first eligible provider.
        enable_failover: bool,
        /// Default true; false = no provider has a breaker.
        enable_circuit_breaker: bool,
        /// Attempts and open streams of the whole pool at once. Default 256; at least 1, `null` = no limit.
        max_concurrent: u32,
        /// Longest wait for capacity. Default 10000; 0 = never wait, `null` = no limit but the call's deadline.
        queue_timeout_ms: Millis,
        /// Calls that may wait at once. Default 10000; 0 = none, `null` = no limit.
        max_queue: u64,
        /// Retries of the whole pool: a share of the first visits of the last 10 s.
        retry_budget: RawRetryBudget,
        /// What all breakers have in common.
        breaker: RawBreaker,
        /// A provider that refuses the content with an error: `throw` ends the call with it, `failover` asks the next one. A
        /// refusal inside a 200 is an answer either way. Default `throw`.
        on_content_filter: Text,
        /// How long a provider is passed over that the program marked with `markError`; `clearError` ends it before. Default
        /// 60000; 0 = a mark does nothing, `null` = until it is cleared.
        error_cooldown_ms: Millis,
        /// Fixes random choices. Default: not fixed.
        seed: u64,
    }
}

section! {
    struct RawRetryBudget {
        /// Retries per first visit. Default 0.2; 0 = only `per_second`.
        ratio: f64,
        /// Retries per second whatever the traffic. Default 1.
        per_second: f64,
        /// Retries at once. Default 10; 0 = no retries.
        burst: u32,
    }
}

section! {
    struct RawBreaker {
        /// Share of failed calls that opens. Default 0.5.
        failure_ratio: f64,
        /// Over which the share is taken. Default 60.
        window_s: Seconds,
        /// Fewer calls than this open nothing by their share. Default 10.
        min_calls: u32,
        /// The open period doubles up to this. Default 300000; `null` = no limit.
        max_open_ms: Millis,
    }
}

section! {
    struct RawQos {
        /// Longest any call may take. Default 600000; `null` = no limit.
        max_deadline_ms: Millis,
        /// A call that takes long is asked of a second provider as well. Default false.
        hedge: bool,
        /// How long the first is waited for, or `"p95"` of its answers. Default 300; 0 = both at once.
        hedge_after_ms: MillisOrP95,
        /// Second copies per call. Default 0.05; 0 = none.
        hedge_budget: f64,
        /// A longer request is refused before sending. Default 16777216; `null` = no limit.
        max_prompt_bytes: u64,
        /// A longer reply is a failure of the provider; a longer stream is handed over and not kept. Default 33554432;
        /// `null` = no limit.
        max_response_bytes: u64,
    }
}

section! {
    /// Rows that are asked before the pool's own [failure table](failures.md); the first that matches counts. At least one
    /// of `status`, `code` and `message`; everything that is given must hold.
    struct RawFailure {
        /// Only at providers of this type. Default: any.
        kind as "type": Text,
        /// Only at this provider. Default: any.
        provider: Text,
        /// Of the reply, or what an error inside a 200 claims; 300 to 599.
        status: u32,
        /// One of the codes, types and status words in the error; case does not count.
        code: Text,
        /// A piece of what the provider says; case does not count.
        message: Text,
        /// A class of the failure table.
        class: Text,
    }
}

section! {
    /// Providers that fetch nothing themselves (Gemini, Ollama) cannot take an image or a file by its address. The pool can
    /// fetch it for them; otherwise the request is refused before anything is sent, or goes to a provider that fetches.
    ///
    /// Only `https` is fetched, without cookies, credentials or proxy. Private, loopback, link-local and every other address
    /// that is not of the public internet is refused, in the address itself, behind its name, and behind each of at most 3
    /// redirects. What comes must be an image, audio or a PDF.
    struct RawMedia {
        /// Whether an image or a file that a message names by its address may be fetched: whoever can put an address into a
        /// message can make the pool ask for it. Default false.
        fetch: bool,
        /// Of one image or file. Default 20971520; `null` = no limit but `qos.max_prompt_bytes`.
        max_bytes: u64,
        /// For one image or file. Default 10000; `null` = no limit but the call's deadline.
        timeout_ms: Millis,
        /// Hosts that are fetched from although they have addresses outside the public internet. Default: none.
        allow_hosts: Vec<Field<Text>>,
    }
}

section! {
    struct RawHealth {
        /// Providers are asked whether they are up. Default false.
        active: bool,
        /// From one check to the next. Default 30000; at least 1.
        interval_ms: Millis,
        /// What has not answered by then has failed. Default 5000; at least 1.
        timeout_ms: Millis,
        /// Failed checks in a row that put a provider behind the others. Default 2; at least 1.
        failures: u32,
    }
}

section! {
    /// Whole answers, kept in the memory of this pool. The same call (request, tenant, everything that goes on the wire, and
    /// the providers that may answer it) is answered without asking anybody. Errors, cut streams, refusals and filtered answers are not kept.
    struct RawCache {
        /// Every chat and stream takes a kept answer where there is one. Default false: only calls with `cache`.
        enabled: bool,
        /// How long an answer is kept, where a call does not say. Default 900; 0 = not at all.
        ttl_seconds: Seconds,
        /// Answers that are kept. Default 10000; 0 = none, `null` = no limit.
        max_entries: u64,
        /// All of them together, about. Default 104857600; 0 = nothing is kept, `null` = no limit.
        max_bytes: u64,
        /// A larger answer is not kept, which is a warning of the call. Default 1048576; `null` = no limit but `max_bytes`.
        max_entry_bytes: u64,
    }
}

section! {
    /// Money in a calendar day and a calendar month. A request goes out while what was spent, what is reserved for
    /// requests under way and what it needs itself stay within every limit; see [`cost.md`](cost.md#budgets).
    struct RawBudget {
        /// USD in a calendar day. Default: no limit; 0 = only what costs nothing.
        daily_usd: f64,
        /// USD in a calendar month. Default: no limit; 0 = only what costs nothing.
        monthly_usd: f64,
        /// `soft` reserves what a request is likely to cost, so requests under way may pass the limit by what they cost
        /// beyond that; `strict` reserves the most it can cost, which needs `max_tokens`, and is never passed. Default
        /// `soft`.
        mode: Text,
        /// A request whose price nobody knows: `deny` refuses it, `allow` lets it pass and does not count it. Default
        /// `deny`.
        on_unknown_price: Text,
        /// The share of a limit that is told once by `budgetWarning`. Default 0.8; 0 = with the first money, `null` =
        /// never.
        warn_at: f64,
        /// Where days and months begin at midnight, as the IANA names it. Default "UTC".
        timezone: Text,
    }
}

section! {
    /// [`ensembles.md`](ensembles.md) says how each strategy decides, when to use it and what it costs.
    struct RawEnsemble {
        /// Of tasks that do not say: `FASTEST`, `VOTING`, `WEIGHTED`, `CONSENSUS` or `JUDGE`. Default `FASTEST`.
        default_strategy: Text,
        /// Providers that one call asks at once, the best ranked first; one that fails makes room for the next. `FASTEST`
        /// asks one or two. Default 3; at least 1.
        max_parallel: u32,
        /// Answers without which nothing is decided and the call fails. Default 1; at least 1, at most `max_parallel`.
        min_successes: u32,
        /// Share of the answers that is a consensus. Default 0.6; 0 to 1.
        agreement: f64,
        /// From here on two texts of which one has all words of the other say the same: twice the pairs of letters they share,
        /// by all they have. Texts that differ by a number, a sign or a word that denies never do. Default 0.9; 0 to 1, 1 =
        /// only equal texts.
        similarity: f64,
        /// How long `FASTEST` waits for the first provider before it asks a second. Default 300; 0 = both at once.
        hedge_after_ms: Millis,
        /// Who compares answers.
        judge: RawJudge,
    }
}

section! {
    /// Read by `llmpool serve` and `pool.serve()`; a pool that is not served has no use for it. All of it but `http`, `grpc`
    /// and `max_connections` holds after a reload: `tls`, `header_timeout_ms` and `write_timeout_ms` for new connections, the
    /// rest for the next request. Who may call, and how that is shown: [`security.md`](security.md).
    struct RawServer {
        /// Where to listen: an address and a port, 0 for a free one. Default "127.0.0.1:7071".
        http: Text,
        /// Where gRPC is spoken, likewise; `null` = nowhere. The address of `http` = one port for both; with port 0 each has
        /// a free one of its own. Default "127.0.0.1:7070" where `http` is at its default, too; else nowhere.
        grpc: Text,
        /// Who may call: keys, or `sha256:` and the 64 hexadecimal digits of a key's SHA-256. Default: none. Without keys,
        /// `jwt`, `hmac` and `tls.client_ca` everybody may call, which is refused on an address that others can reach.
        api_keys: Vec<Field<Hidden>>,
        /// Holders of these tokens may call. Default: none.
        jwt: RawJwt,
        /// Clients that sign their requests may call. Default: none.
        hmac: RawHmac,
        /// Connections are made safe with this certificate. Default: they are not.
        tls: RawTls,
        /// Serve everybody on an address that others can reach. Default false.
        insecure: bool,
        /// A longer request is refused. Default 16777216; at least 1, `null` = no limit.
        max_body_bytes: u64,
        /// For the head of the first request of a connection, for that of a later one from its first byte, and for the
        /// handshake of TLS. A connection is kept for 5 minutes after its last request, or for this where it is longer.
        /// Default 10000; at least 1, `null` = no limit, for either.
        header_timeout_ms: Millis,
        /// For the body of a request. Default 60000; at least 1, `null` = no limit.
        body_timeout_ms: Millis,
        /// For a client to take anything of what it is sent; then its connection is closed. How long a provider takes does
        /// not count. Default 60000; at least 1, `null` = no limit.
        write_timeout_ms: Millis,
        /// Connections at once, of each port; further ones wait. Default 10000; at least 1, `null` = no limit.
        max_connections: u32,
        /// How long requests under way get when it closes; then they are ended. Default 10000; 0 = none.
        drain_timeout_ms: Millis,
        /// Origins whose pages may call, as browsers write them, or `"*"`. Default: none; a request from a page of another
        /// origin is refused.
        cors_origins: Vec<Field<Text>>,
    }
}

section! {
    /// JSON Web Tokens, sent as `Authorization: Bearer`. A token must have `exp`; `nbf` counts where it is there.
    struct RawJwt {
        /// The only algorithm that is taken: `HS256`, `HS384`, `HS512`, `RS256`, `RS384`, `RS512`, `PS256`, `PS384`, `PS512`,
        /// `ES256`, `ES384` or `EdDSA`.
        alg: Text,
        /// A secret of at least 32, 48 or 64 bytes for `HS…`, else a public key in PEM. Either this or `jwks_url`.
        key: Hidden,
        /// The issuer's list of keys: `https`, or `http` to this machine. It is kept for 10 minutes; for a key that is not
        /// in it, it is asked for again, at most every 30 seconds. While it cannot be had, the last one counts, for a day.
        jwks_url: Text,
        /// The service's own name in `aud`. Default: none, and a token that names an audience is refused.
        aud: Text,
        /// Who must have issued a token. Default: anybody who has the key.
        iss: Text,
        /// One scope that a token must have, in `scope` or `scp`. Default: none.
        scope: Text,
        /// The claim that says on whose behalf the holder calls. Where there are tenants, a token must have it. Default
        /// "tenant".
        tenant_claim: Text,
        /// By how much the clocks of issuer and service may differ. Default 30; 0 = not at all, at most 300.
        leeway_s: Seconds,
    }
}

section! {
    /// Requests that are signed with a secret that is never sent: [`security.md`](security.md#signed-requests).
    struct RawHmac {
        /// At least one.
        clients: Vec<Field<RawHmacClient>>,
        /// By how much the time of a request may differ from the service's. A nonce is remembered for twice as long.
        /// Default 300; at least 1.
        max_skew_s: Seconds,
    }
}

section! {
    struct RawHmacClient {
        /// What it calls itself in `X-Api-Key`. Unique.
        id: Text,
        /// What it signs with, as it stands here: at least 32 bytes, and no other client's.
        secret: Hidden,
        /// On whose behalf it calls. Default: nobody's in particular.
        tenant: Text,
    }
}

section! {
    /// Files in PEM, read with the configuration: a path starts at its folder. They are watched as it is, and read again
    /// with every reload.
    struct RawTls {
        /// The service's certificate, then those between it and its root.
        cert: Text,
        /// The private key of the certificate, not encrypted.
        key: Text,
        /// Callers must have a certificate of this authority, or of one of these. Default: they need none.
        client_ca: Text,
    }
}

section! {
    /// Without `provider` and `model` there is no judge, and `JUDGE` falls back to `VOTING`.
    struct RawJudge {
        /// By name. Default: any that serves `model`.
        provider: Text,
        /// Asked for. Default: the provider's own.
        model: Text,
        /// Its part of the call's deadline: the others have what is left before it. Default 0.3; above 0, below 1.
        deadline_share: f64,
        /// Bound of its verdict. Default 128; at least 1.
        max_tokens: u32,
    }
}

section! {
    struct RawTask {
        /// How models answer together. Default: `ensemble.default_strategy`.
        strategy: Text,
        /// Who does it, by name. Default: every provider whose own `tasks` do not exclude it.
        providers: Vec<Field<Text>>,
        /// Bound of an answer where the call sets none, and the most it may set. Default: none.
        max_tokens: u32,
        /// The whole call where it sets no deadline, and the longest it may set. Default: `qos.max_deadline_ms`; at least 1.
        deadline_ms: Millis,
        /// How long answers are kept. Default: as the section `cache` says; 0 = not at all.
        cache_ttl_seconds: Seconds,
        /// A file with the words around the caller's own: `{{prompt}}`, and names of your own in double braces. A path starts at
        /// the folder of the configuration. Default: the caller's words alone.
        prompt: Text,
        /// A file with the JSON Schema of the answer. A path starts at the folder of the configuration. Default: any text.
        schema: Text,
        /// `false`: calls of it are refused. Default true.
        enabled: bool,
    }
}

section! {
    /// [`tenants.md`](tenants.md) says how each limit counts and what a call over it is told. A call that names no tenant
    /// (the program's own, or one with a key of `server.api_keys`) is bound by none of them.
    struct RawTenant {
        /// Unique: the `tenant` of a call, and its name in errors, statistics and logs. Letters, digits, `.`, `_` and `-`,
        /// at most 64.
        id: Text,
        /// Keys that a gateway takes for this tenant's, or `sha256:` and the 64 hexadecimal digits of a key's SHA-256. A key
        /// belongs to one tenant. Default: none.
        api_keys: Vec<Field<Hidden>>,
        /// `false`: every call is refused, from the next one on. Default true.
        enabled: bool,
        /// Calls a second, in the long run: 0.001 to 1000000. Default: no limit; 0 = none.
        rps: f64,
        /// Calls at once after a pause, where `rps` is set. Default: `rps`, rounded up; at least 1.
        burst: u32,
        /// Tokens in a calendar day of UTC, prompts and answers together. Default: no limit; 0 = none.
        tokens_per_day: u64,
        /// What it may spend. Default: no limit.
        budget: RawBudget,
        /// Its calls are of one of these tasks, by name, or are refused; a call of no task is refused, too. Default: all,
        /// and calls of none.
        tasks: Vec<Field<Text>>,
        /// It may be answered by one of these models alone, by alias or by the service's own name. Default: all.
        models: Vec<Field<Text>>,
        /// The longest deadline of a call; a longer one is cut to it. Default: `qos.max_deadline_ms`.
        max_deadline_ms: Millis,
        /// Providers that one call asks at once: it lowers `ensemble.max_parallel`, and 1 means that nothing is hedged.
        /// Default: `ensemble.max_parallel`; at least 1.
        max_parallel: u32,
    }
}

section! {
    /// Options of the constructor, in the casing of JavaScript.
    struct RawSettings {
        /// A file: `.json` or `.jsonc` (comments are fine in both), `.yaml`, `.yml`, `.toml`. One of the three sources.
        config_path as "configPath": Text,
        /// An address to fetch it from: `https`, or `http` to this machine. Its type says the format, else its extension.
        /// One of the three sources.
        config_url as "configUrl": Hidden,
        /// The configuration as an object. One of the three sources.
        config: Object,
        /// For `configUrl`: sent there and nowhere else; redirects are not followed.
        config_headers as "configHeaders": Dict<Hidden>,
        /// For `configUrl`: the environment variables that its `${VAR}` may read. Default: none. Files it never reads.
        config_url_env as "configUrlEnv": Vec<Field<Text>>,
        /// For `configUrl`: the SHA-256 that the text must have, in hexadecimal. Default: any.
        config_sha256 as "configSha256": Text,
        /// For `configUrl`: a file that keeps what was last in force, so that a start works while the server is down.
        /// It holds whatever secrets the text holds. Default: none.
        config_cache as "configCache": Text,
        /// How often a URL is asked again, and how often a watched file is read besides, ms. What stands in files of
        /// secrets is read again, too: the only thing that can change for an object. Default 300000; 0 or `null` = only
        /// when `reload()` is called, or a file changes.
        check_interval as "checkInterval": Millis,
        /// A file that keeps what the pool came to (requests, tokens, cost, by provider) and what every provider has used
        /// of its day, so that the next start goes on from there. One pool writes one file. Default: none.
        stats_file as "statsFile": Text,
        /// How often that file is written, ms; it is at every shutdown, too. Default 60000; 0 or `null` = only then, and when
        /// `saveStats()` is called.
        save_stats_interval as "saveStatsInterval": Millis,
        /// One attempt, ms; in a stream until its first content. Default 30000; `null` = no limit.
        timeout: Millis,
        /// The whole call, waits and retries included, ms. Default, and the most it can be: `qos.max_deadline_ms`.
        deadline: Millis,
        /// Goes over `routing.max_retries`. 0 still fails over.
        max_retries as "maxRetries": u32,
        /// Goes over `routing.retry_delay_ms`.
        retry_delay as "retryDelay": Millis,
        /// Default true; false = four bytes are a token.
        use_token_counting as "useTokenCounting": bool,
        /// Emit `debug` events. Default false.
        debug: bool,
        /// Samples kept per provider for percentiles. Default 1000; 0 = none.
        history_limit as "historyLimit": u32,
    }
}
