//! The flavors of providers: addresses, keys and dialects of the places where a dialect is spoken.
//!
//! A table. What a flavor's requests differ in is not here: see `provider::remote::flavor` for
//! addresses and credentials, and `dialect::openai_chat` for bodies.

/// A kind of place that speaks one dialect or several.
#[derive(Debug, PartialEq, Eq)]
pub struct Flavor {
    /// The name in the configuration.
    pub name: &'static str,
    /// The dialects that it speaks, the usual one first.
    pub homes: &'static [Home],
    /// Variables that hold its key where the configuration names no other.
    pub keys: &'static [&'static str],
    /// A request without credentials is refused.
    pub needs_key: bool,
    /// The keys of the configuration that mean something to it alone.
    pub own_keys: &'static [&'static str],
}

/// The place of one dialect. `{region}` and `{project}` stand for those of the configuration.
#[derive(Debug, PartialEq, Eq)]
pub struct Home {
    /// The dialect's name.
    pub dialect: &'static str,
    /// The address that `base_url` replaces; empty where every customer has another.
    pub host: &'static str,
    /// The path after either, unless `base_url` has it already.
    pub path: &'static str,
}

const fn home(dialect: &'static str, host: &'static str, path: &'static str) -> Home {
    Home {
        dialect,
        host,
        path,
    }
}

const CHAT: &str = "openai-chat";
const RESPONSES: &str = "openai-responses";
const ANTHROPIC: &str = "anthropic";
const GEMINI: &str = "gemini";
/// The native dialect of Ollama, which only its flavor speaks.
const OLLAMA: &str = "ollama";
/// Converse of Bedrock, which only its flavor speaks.
const CONVERSE: &str = "bedrock-converse";

/// The dialects that only one flavor's upstreams speak, and no client.
pub(super) const UPSTREAM_DIALECTS: &[&str] = &[OLLAMA, CONVERSE];

/// Replaced by the region's host: see [`vertex_host`].
const VERTEX: &str = "https://{vertex}";
const VERTEX_GEMINI: &str = "/v1/projects/{project}/locations/{region}/publishers/google";
const VERTEX_CLAUDE: &str = "/v1/projects/{project}/locations/{region}/publishers/anthropic";
const VERTEX_CHAT: &str = "/v1/projects/{project}/locations/{region}/endpoints/openapi";
const AZURE_KEYS: &[&str] = &[
    "api_version",
    "tenant_id",
    "client_id",
    "client_secret_env",
    "client_secret_file",
    "token_url",
];
const VERTEX_KEYS: &[&str] = &["project", "region", "credentials_file", "token_url"];
const BEDROCK_KEYS: &[&str] = &["region", "profile"];
const AWS_KEY: &[&str] = &["AWS_BEARER_TOKEN_BEDROCK"];
const RUNTIME: &str = "https://bedrock-runtime.{region}.amazonaws.com";
const MANTLE: &str = "https://bedrock-mantle.{region}.api.aws";

/// A flavor of the public internet that wants a key.
const fn hosted(
    name: &'static str,
    homes: &'static [Home],
    keys: &'static [&'static str],
) -> Flavor {
    Flavor {
        name,
        homes,
        keys,
        needs_key: true,
        own_keys: &[],
    }
}

/// A flavor of one's own machines, where a key may be wanted or not.
const fn local(
    name: &'static str,
    homes: &'static [Home],
    keys: &'static [&'static str],
) -> Flavor {
    Flavor {
        name,
        homes,
        keys,
        needs_key: false,
        own_keys: &[],
    }
}

/// All flavors.
pub static FLAVORS: &[Flavor] = &[
    hosted(
        "openai",
        &[
            home(CHAT, "https://api.openai.com/v1", ""),
            home(RESPONSES, "https://api.openai.com/v1", ""),
        ],
        &["OPENAI_API_KEY"],
    ),
    hosted(
        "anthropic",
        &[home(ANTHROPIC, "https://api.anthropic.com", "")],
        &["ANTHROPIC_API_KEY"],
    ),
    hosted(
        "gemini",
        &[
            home(
                GEMINI,
                "https://generativelanguage.googleapis.com",
                "/v1beta",
            ),
            home(
                CHAT,
                "https://generativelanguage.googleapis.com",
                "/v1beta/openai",
            ),
        ],
        &["GEMINI_API_KEY", "GOOGLE_API_KEY"],
    ),
    Flavor {
        own_keys: AZURE_KEYS,
        ..hosted(
            "azure",
            &[
                home(CHAT, "", "/openai/v1"),
                home(RESPONSES, "", "/openai/v1"),
                home(ANTHROPIC, "", "/anthropic"),
            ],
            &["AZURE_OPENAI_API_KEY", "AZURE_API_KEY"],
        )
    },
    Flavor {
        own_keys: VERTEX_KEYS,
        ..local(
            "vertex",
            &[
                home(GEMINI, VERTEX, VERTEX_GEMINI),
                home(ANTHROPIC, VERTEX, VERTEX_CLAUDE),
                home(CHAT, VERTEX, VERTEX_CHAT),
            ],
            &[],
        )
    },
    Flavor {
        own_keys: BEDROCK_KEYS,
        ..hosted(
            "bedrock",
            &[
                home(ANTHROPIC, RUNTIME, "/anthropic"),
                home(CHAT, RUNTIME, "/openai/v1"),
                home(RESPONSES, RUNTIME, "/openai/v1"),
            ],
            AWS_KEY,
        )
    },
    Flavor {
        own_keys: BEDROCK_KEYS,
        ..hosted(
            "bedrock-mantle",
            &[
                home(CHAT, MANTLE, "/v1"),
                home(RESPONSES, MANTLE, "/v1"),
                home(ANTHROPIC, MANTLE, "/anthropic"),
            ],
            AWS_KEY,
        )
    },
    Flavor {
        own_keys: BEDROCK_KEYS,
        ..hosted("bedrock-invoke", &[home(ANTHROPIC, RUNTIME, "")], AWS_KEY)
    },
    Flavor {
        own_keys: BEDROCK_KEYS,
        ..hosted("bedrock-converse", &[home(CONVERSE, RUNTIME, "")], AWS_KEY)
    },
    local(
        "ollama",
        &[
            home(OLLAMA, "http://localhost:11434", ""),
            home(CHAT, "http://localhost:11434", "/v1"),
            home(RESPONSES, "http://localhost:11434", "/v1"),
            home(ANTHROPIC, "http://localhost:11434", ""),
        ],
        &["OLLAMA_API_KEY"],
    ),
    hosted(
        "mistral",
        &[home(CHAT, "https://api.mistral.ai/v1", "")],
        &["MISTRAL_API_KEY"],
    ),
    hosted(
        "deepseek",
        &[
            home(CHAT, "https://api.deepseek.com", ""),
            home(ANTHROPIC, "https://api.deepseek.com", "/anthropic"),
        ],
        &["DEEPSEEK_API_KEY"],
    ),
    hosted(
        "qwen",
        &[
            home(
                CHAT,
                "https://dashscope-intl.aliyuncs.com",
                "/compatible-mode/v1",
            ),
            home(
                ANTHROPIC,
                "https://dashscope-intl.aliyuncs.com",
                "/apps/anthropic",
            ),
        ],
        &["DASHSCOPE_API_KEY"],
    ),
    hosted(
        "moonshot",
        &[
            home(CHAT, "https://api.moonshot.ai", "/v1"),
            home(ANTHROPIC, "https://api.moonshot.ai", "/anthropic"),
        ],
        &["MOONSHOT_API_KEY"],
    ),
    hosted(
        "xai",
        &[
            home(CHAT, "https://api.x.ai/v1", ""),
            home(RESPONSES, "https://api.x.ai/v1", ""),
        ],
        &["XAI_API_KEY"],
    ),
    hosted(
        "groq",
        &[
            home(CHAT, "https://api.groq.com/openai/v1", ""),
            home(RESPONSES, "https://api.groq.com/openai/v1", ""),
        ],
        &["GROQ_API_KEY"],
    ),
    hosted(
        "together",
        &[home(CHAT, "https://api.together.xyz/v1", "")],
        &["TOGETHER_API_KEY"],
    ),
    hosted(
        "fireworks",
        &[
            home(CHAT, "https://api.fireworks.ai", "/inference/v1"),
            home(RESPONSES, "https://api.fireworks.ai", "/inference/v1"),
            home(ANTHROPIC, "https://api.fireworks.ai", "/inference"),
        ],
        &["FIREWORKS_API_KEY"],
    ),
    hosted(
        "openrouter",
        &[
            home(CHAT, "https://openrouter.ai", "/api/v1"),
            home(RESPONSES, "https://openrouter.ai", "/api/v1"),
            home(ANTHROPIC, "https://openrouter.ai", "/api"),
        ],
        &["OPENROUTER_API_KEY"],
    ),
    hosted(
        "cohere",
        &[home(CHAT, "https://api.cohere.ai", "/compatibility/v1")],
        &["COHERE_API_KEY", "CO_API_KEY"],
    ),
    local(
        "vllm",
        &[
            home(CHAT, "http://localhost:8000", "/v1"),
            home(RESPONSES, "http://localhost:8000", "/v1"),
            home(ANTHROPIC, "http://localhost:8000", ""),
        ],
        &["VLLM_API_KEY"],
    ),
    local(
        "sglang",
        &[
            home(CHAT, "http://localhost:30000", "/v1"),
            home(RESPONSES, "http://localhost:30000", "/v1"),
            home(ANTHROPIC, "http://localhost:30000", ""),
        ],
        &["SGLANG_API_KEY"],
    ),
    local(
        "llama-cpp",
        &[
            home(CHAT, "http://localhost:8080", "/v1"),
            home(RESPONSES, "http://localhost:8080", "/v1"),
            home(ANTHROPIC, "http://localhost:8080", ""),
        ],
        &["LLAMA_API_KEY"],
    ),
    local(
        "lm-studio",
        &[
            home(CHAT, "http://localhost:1234", "/v1"),
            home(RESPONSES, "http://localhost:1234", "/v1"),
        ],
        &["LM_API_TOKEN"],
    ),
];

impl Flavor {
    /// Returns the flavor of that name.
    #[must_use]
    pub fn named(name: &str) -> Option<&'static Self> {
        FLAVORS.iter().find(|flavor| flavor.name == name)
    }

    /// Returns the place of a dialect.
    #[must_use]
    pub fn home(&self, dialect: &str) -> Option<&'static Home> {
        self.homes.iter().find(|home| home.dialect == dialect)
    }
}

/// Returns the host of a location of Vertex: the global one, a continent, or a region.
pub(super) fn vertex_host(location: &str) -> String {
    match location {
        "global" => "aiplatform.googleapis.com".to_owned(),
        "us" | "eu" => format!("aiplatform.{location}.rep.googleapis.com"),
        region => format!("{region}-aiplatform.googleapis.com"),
    }
}
