//! The table of failures: code, kind, status, blame, retry and message of each. A new failure is
//! one entry here and one constructor. Nothing is decided here.
//!
//! A code is an interface: clients and log queries depend on it, so it never changes.

use super::kind::{Blame, FailureKind, Retry};

/// The constant properties of one failure.
#[derive(Debug, PartialEq, Eq)]
pub struct FailureClass {
    /// The stable name: `code` on the wire, `ended` in the log.
    pub code: &'static str,
    /// The error kind that the dialects spell on the wire.
    pub kind: FailureKind,
    /// The HTTP status, for a failure that happens before a response has begun.
    pub status: u16,
    /// The party at fault.
    pub blame: Blame,
    /// The limit up to which another attempt may follow.
    pub retry: Retry,
    /// The message for the client, with `{placeholders}`. `{message}` alone is written by the
    /// caller.
    pub message: &'static str,
}

macro_rules! classes {
    ($(
        $(#[$doc:meta])*
        $name:ident: $code:literal $kind:ident $status:literal $blame:ident $retry:ident
            $message:literal;
    )*) => {
        $($(#[$doc])* pub static $name: FailureClass = FailureClass {
            code: $code,
            kind: FailureKind::$kind,
            status: $status,
            blame: Blame::$blame,
            retry: Retry::$retry,
            message: $message,
        };)*

        /// All classes, in the order of the table.
        pub static CLASSES: &[&FailureClass] = &[$(&$name),*];
    };
}

classes! {
    // --- The request ---

    /// The request is malformed; `param` names the field.
    INVALID_REQUEST: "invalid_request" InvalidRequest 400 Client Never
        "{message}";
    /// No model has this name.
    UNKNOWN_MODEL: "model_not_found" NotFound 404 Client Never
        "the model `{model}` is not served here; known models: {known}";
    /// The address leads nowhere.
    NOT_FOUND: "not_found" NotFound 404 Client Never
        "{message}";
    /// No stored response has this id.
    UNKNOWN_RESPONSE: "response_not_found" NotFound 404 Client Never
        "there is no response `{id}` here: it never existed, is no longer kept, or belongs to \
         another caller. Only a response requested with `background`, or as a stream with `linger`, \
         can be retrieved";
    /// A response that this request goes on from is not known: its client sends all of it again.
    PREVIOUS_RESPONSE_NOT_FOUND: "previous_response_not_found" InvalidRequest 400 Client Never
        "Previous response with id '{id}' not found.";
    /// The `stream_id` of a message on a socket is none.
    INVALID_STREAM_ID: "invalid_stream_id" InvalidRequest 400 Client Never
        "`stream_id` should be 1 to 256 letters, digits, underscores, hyphens and periods";
    /// More different `stream_id`s on one socket than are kept apart.
    TOO_MANY_STREAM_IDS: "websocket_stream_limit_reached" InvalidRequest 400 Client Never
        "this socket has had {limit} different values of `stream_id`, which is the limit; use one \
         of them again, or open another socket";
    /// The address is right and the method is not.
    METHOD_NOT_ALLOWED: "method_not_allowed" InvalidRequest 405 Client Never
        "{method} is not allowed here; allowed: {allowed}";
    /// The address is that of a WebSocket, and the request opens none that is spoken here.
    UPGRADE_REQUIRED: "upgrade_required" InvalidRequest 426 Client Never
        "{message}";
    /// The body has a media type that this endpoint doesn't accept.
    UNSUPPORTED_MEDIA_TYPE: "unsupported_media_type" InvalidRequest 415 Client Never
        "{message}";
    /// The request body is over the cap.
    BODY_TOO_LARGE: "body_too_large" TooLarge 413 Client Never
        "the request body is larger than {limit} bytes (max_body)";
    /// The request body did not arrive in time.
    BODY_TIMEOUT: "body_timeout" InvalidRequest 408 Client Never
        "the request body did not arrive within {after}";
    /// The client left while it was still sending its request.
    BODY_BROKEN: "body_broken" InvalidRequest 400 Client Never
        "the request body broke off";
    /// The request head is over a cap.
    HEADERS_TOO_LARGE: "headers_too_large" InvalidRequest 431 Client Never
        "{message}";
    /// The request is well-formed, but not permitted to this caller.
    FORBIDDEN: "forbidden" Permission 403 Client Never
        "{message}";
    /// No key was given, or none that is known.
    INVALID_API_KEY: "invalid_api_key" Authentication 401 Client Never
        "{message}";
    /// The key's time is over, or has not begun.
    KEY_EXPIRED: "key_expired" Authentication 401 Client Never
        "{message}";
    /// The key has been revoked; what ran for it is cut.
    KEY_REVOKED: "key_revoked" Authentication 401 Client Never
        "this API key is no longer valid; ask the operator of this server for another";
    /// The key may not use this model.
    MODEL_NOT_ALLOWED: "model_not_allowed" Permission 403 Client Never
        "this API key may not use the model `{model}`; it may use {allowed}";
    /// The resource can't be had in the form that was requested.
    NOT_ACCEPTABLE: "not_acceptable" InvalidRequest 406 Client Never
        "{message}";
    /// The resource existed and is no more.
    GONE: "gone" NotFound 410 Client Never
        "{message}";
    /// The request contradicts the state of the resource.
    CONFLICT: "conflict" InvalidRequest 409 Client Never
        "{message}";

    // --- The upstream ---

    /// No connection to the upstream: refused or unreachable.
    CONNECT_FAILED: "connect_failed" Server 502 Upstream BeforeSend
        "could not connect to provider `{provider}`";
    /// The upstream's name does not resolve.
    DNS_FAILED: "dns_failed" Server 502 Upstream BeforeSend
        "could not resolve the address of provider `{provider}`";
    /// The upstream's certificate or handshake is wrong.
    TLS_FAILED: "tls_failed" Server 502 Upstream BeforeSend
        "no secure connection to provider `{provider}`: {reason}";
    /// No connection in time (`timeouts.connect`).
    CONNECT_TIMEOUT: "connect_timeout" Timeout 504 Upstream BeforeSend
        "no connection to provider `{provider}` within {after}";
    /// No token in time (`timeouts.first_token`).
    FIRST_TOKEN_TIMEOUT: "first_token_timeout" Timeout 504 Upstream BeforeFirstToken
        "the upstream sent nothing within {after} (timeouts.first_token)";
    /// The upstream fell silent (`timeouts.between_tokens`).
    BETWEEN_TOKENS_TIMEOUT: "between_tokens_timeout" Timeout 502 Upstream Never
        "the upstream fell silent for {after} (timeouts.between_tokens)";
    /// The whole answer took too long (`timeouts.total`).
    TOTAL_TIMEOUT: "total_timeout" Timeout 504 Upstream Never
        "the answer was not finished within {after} (timeouts.total)";
    /// The upstream refused the request with an error of its own. Its kind, status, blame and retry
    /// follow from the upstream's status.
    UPSTREAM_REFUSED: "upstream_refused" Server 502 Upstream BeforeFirstToken
        "provider `{provider}` answered {status}: {message}";
    /// The upstream's answer is neither a stream nor JSON, or JSON of another kind.
    UPSTREAM_NOT_A_STREAM: "upstream_not_a_stream" Server 502 Upstream BeforeFirstToken
        "provider `{provider}` answered with {found} instead of {expected}";
    /// A payload of the upstream can't be parsed.
    UPSTREAM_BAD_PAYLOAD: "upstream_bad_payload" Server 502 Upstream BeforeFirstToken
        "the upstream sent something that is not {expected}";
    /// One event of the upstream is over the cap.
    EVENT_TOO_LARGE: "event_too_large" Server 502 Upstream Never
        "the upstream sent an event of more than {limit} bytes (max_event_bytes)";
    /// A non-streaming answer is over the cap.
    RESPONSE_TOO_LARGE: "response_too_large" Server 502 Upstream Never
        "the upstream's answer is larger than {limit} bytes (max_response_bytes)";
    /// The connection to the upstream broke.
    UPSTREAM_RESET: "upstream_reset" Server 502 Upstream BeforeFirstToken
        "the upstream's connection broke before the answer was complete";
    /// The upstream ended its stream before the answer was complete.
    UPSTREAM_TRUNCATED: "upstream_truncated" Server 502 Upstream BeforeFirstToken
        "the upstream's stream ended before the answer was complete: {missing}";
    /// The upstream reported an error within its stream. Its kind follows from the upstream's
    /// words.
    UPSTREAM_ERROR: "upstream_error" Server 502 Upstream BeforeFirstToken
        "{message}";
    /// The upstream says that the request has more tokens than the model can take, in a refusal or
    /// within its stream. A refusal keeps its status, if that is the client's fault.
    CONTEXT_LENGTH_EXCEEDED: "context_length_exceeded" InvalidRequest 400 Client Never
        "{message}";
    /// The upstream says that the account has no quota left, in a refusal or within its stream. A
    /// refusal keeps its status.
    INSUFFICIENT_QUOTA: "insufficient_quota" RateLimit 429 Upstream BeforeFirstToken
        "{message}";
    /// The upstream's filter rejects the request, in a refusal or within its stream. A refusal
    /// keeps its status.
    CONTENT_FILTER: "content_filter" InvalidRequest 400 Client Never
        "{message}";

    // --- Streams and readers ---

    /// More generations on one socket than may run there (`websocket.max_running`).
    TOO_MANY_RUNNING: "too_many_running" RateLimit 429 Client Never
        "too many generations on this socket: at most {limit} (websocket.max_running)";
    /// More generations of one caller than may run without their clients
    /// (`streams.max_lingering_per_caller`).
    TOO_MANY_LINGERING: "too_many_lingering" RateLimit 429 Client Never
        "too many generations of yours run without their clients: at most {limit} \
         (streams.max_lingering_per_caller)";
    /// More readers than one stream may have.
    TOO_MANY_READERS: "too_many_readers" RateLimit 429 Client Never
        "too many readers on this stream (streams.max_readers)";
    /// No further stream can be kept at the moment.
    STREAM_CAPACITY: "no_streams" Overloaded 503 Us Never
        "{message}";
    /// A stream has reached its maximum size.
    STREAM_FULL: "stream_full" TooLarge 413 Client Never
        "this stream is full (streams.max_bytes)";
    /// The store of streams can't be reached.
    STORE_UNAVAILABLE: "store_away" Overloaded 503 Us Never
        "the stream store is unavailable; try again";
    /// The generation was cancelled on request.
    CANCELLED: "cancelled" Server 502 Client Never
        "the generation was cancelled";
    /// The generation had no reader for the whole of its linger.
    ABANDONED: "abandoned" Server 502 Client Never
        "nobody read this generation for {after}: it was cancelled (linger)";
    /// A background generation without readers has filled its stream.
    UNREAD: "unread" Server 502 Client Never
        "nobody reads this response, and its stream is full (streams.max_bytes, \
         streams.max_total_bytes)";
    /// The next events of a reader have been discarded in favour of faster readers.
    READER_LAGGED: "fell_behind" Server 502 Client Never
        "this reader fell too far behind: what follows is no longer kept (streams.max_bytes)";
    /// The writer of the stream vanished.
    WRITER_LOST: "writer_lost" Server 502 Us Never
        "the writer of this stream is gone: the stream ends here, incomplete";

    // --- Limits ---

    /// A key, a team or a provider has as many requests or tokens as it may have.
    RATE_LIMITED: "rate_limit_exceeded" RateLimit 429 Client Never
        "{message}";
    /// A request has more tokens than its key, team or provider may ever have at once.
    TOO_LARGE_FOR_LIMIT: "request_too_large_for_limit" RateLimit 429 Client Never
        "{message}";
    /// The money of a key, a team or a provider is spent; a stream that was running ends with it.
    /// Clients of Anthropic's API get a 402.
    BUDGET_EXCEEDED: "budget_exceeded" Billing 429 Client Never
        "{message}";
    /// There is a budget of money, and the model has no price (`prices.unpriced`).
    MODEL_WITHOUT_PRICE: "model_without_price" Permission 403 Us Never
        "the model `{model}` has no price here, and {scope} has a budget: the operator of this \
         server can add a price to its file (prices.file)";

    // --- Routing ---

    /// Every target of a model has too much to do, or no quota.
    TARGETS_BUSY: "targets_busy" RateLimit 429 Upstream Never
        "every target of this model is busy; try again";
    /// Every target of a model is out of order.
    TARGETS_DOWN: "targets_down" Overloaded 503 Upstream Never
        "no target of this model is in order; try again";

    /// As many requests for a model wait as may.
    QUEUE_FULL: "queue_full" Overloaded 503 Us Never
        "the queue of this model is full (queue.most); try again";
    /// No target of a model had a place for a request while it waited.
    QUEUE_TIMEOUT: "queue_timeout" Overloaded 503 Us Never
        "no target of this model became free within queue.wait (max_in_flight); try again";

    // --- This server ---

    /// The provider's requests need an access token, and there is none.
    NO_ACCESS_TOKEN: "no_access_token" Server 502 Upstream BeforeSend
        "provider `{provider}` has no access token: {reason}";

    /// Large bodies hold all the memory that they may hold together.
    MEMORY_CAPACITY: "memory_capacity" Overloaded 503 Us BeforeSend
        "too many large bodies at once (max_bodies); try again";
    /// The server is shutting down.
    DRAINING: "draining" Overloaded 503 Us Never
        "this server is shutting down; try again";
    /// A defect of this server.
    INTERNAL: "internal" Server 500 Us Never
        "internal error";
}
