//! The table of hosts.

use super::{CacheMarks, CallIds, ChatHost, Prefill, ReasoningField};

/// A host without a name: OpenAI, or any other that is asked in its way.
pub(in crate::openai_chat) static OPENAI: ChatHost = ChatHost {
    has_stored_files: true,
    has_thoughts_in_content: true,
    ..BASE
};

/// OpenAI, from which all others differ.
const BASE: ChatHost = ChatHost {
    name: "",
    renames: &[],
    refuses: &[],
    has_top_k: false,
    has_schemas: true,
    has_required_choice: true,
    reasoning: ReasoningField::Effort,
    ids: CallIds::Short,
    prefill: Prefill::Unmarked,
    marks: CacheMarks::Nowhere,
    has_custom_tools: false,
    has_stored_files: false,
    has_thoughts_in_content: false,
};

/// OpenAI itself.
const HOME: ChatHost = ChatHost {
    has_custom_tools: true,
    has_stored_files: true,
    ..BASE
};

/// The older name of the limit, which is the only one here.
const MAX_TOKENS: &[(&str, &str)] = &[("max_completion_tokens", "max_tokens")];

/// A server that runs on one's own machines: it samples in more ways and takes the flags of chat
/// templates.
const LOCAL: ChatHost = ChatHost {
    has_top_k: true,
    reasoning: ReasoningField::Template,
    prefill: Prefill::Continue,
    ..BASE
};

/// The hosts that differ in their requests.
pub(in crate::openai_chat) static HOSTS: &[ChatHost] = &[
    ChatHost {
        name: "openai",
        ..HOME
    },
    ChatHost {
        name: "azure",
        ..HOME
    },
    ChatHost {
        name: "mistral",
        renames: &[
            ("max_completion_tokens", "max_tokens"),
            ("seed", "random_seed"),
        ],
        refuses: &[
            "audio",
            "logit_bias",
            "logprobs",
            "modalities",
            "service_tier",
            "store",
            "stream_options",
            "top_logprobs",
            "user",
            "verbosity",
            "web_search_options",
        ],
        reasoning: ReasoningField::OnOrOff,
        has_thoughts_in_content: true,
        ids: CallIds::Nine,
        prefill: Prefill::Field("prefix"),
        ..BASE
    },
    ChatHost {
        name: "deepseek",
        renames: MAX_TOKENS,
        has_schemas: false,
        reasoning: ReasoningField::Thinking,
        ..BASE
    },
    ChatHost {
        name: "qwen",
        marks: CacheMarks::Content,
        renames: MAX_TOKENS,
        has_top_k: true,
        has_required_choice: false,
        reasoning: ReasoningField::Flag,
        prefill: Prefill::Field("partial"),
        ..BASE
    },
    ChatHost {
        name: "moonshot",
        renames: MAX_TOKENS,
        has_required_choice: false,
        reasoning: ReasoningField::ThinkingOnly,
        prefill: Prefill::Field("partial"),
        ..BASE
    },
    ChatHost {
        name: "groq",
        refuses: &["logit_bias", "logprobs", "top_logprobs"],
        ..BASE
    },
    ChatHost {
        name: "together",
        renames: MAX_TOKENS,
        has_top_k: true,
        ..BASE
    },
    ChatHost {
        name: "fireworks",
        renames: MAX_TOKENS,
        has_top_k: true,
        ..BASE
    },
    ChatHost {
        name: "openrouter",
        marks: CacheMarks::Everywhere,
        has_top_k: true,
        reasoning: ReasoningField::Object,
        ..BASE
    },
    ChatHost {
        name: "cohere",
        renames: MAX_TOKENS,
        refuses: &[
            "audio",
            "logit_bias",
            "metadata",
            "modalities",
            "n",
            "parallel_tool_calls",
            "prediction",
            "service_tier",
            "store",
            "stream_options",
            "top_logprobs",
            "user",
        ],
        reasoning: ReasoningField::OnOrOff,
        ..BASE
    },
    ChatHost {
        name: "vllm",
        ..LOCAL
    },
    ChatHost {
        name: "sglang",
        ..LOCAL
    },
    ChatHost {
        name: "llama-cpp",
        ..LOCAL
    },
    ChatHost {
        name: "lm-studio",
        renames: MAX_TOKENS,
        has_top_k: true,
        ..BASE
    },
];
