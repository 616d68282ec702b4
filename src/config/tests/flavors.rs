//! Flavors: what they set, what else they need, and what means nothing to them.

use super::super::{Access, FLAVORS};
use super::*;

/// Reads a provider `p` with these keys, in an environment.
fn provider(keys: &str, env: &[(&str, &str)]) -> Result<Provider, String> {
    let models = "[[models]]\nname = \"*\"\ntargets = [{ provider = \"p\" }]\n";
    let text = format!("[providers.p]\n{keys}\n{models}");
    let config = load(&text, env)?;
    Ok(config.providers.into_values().next().unwrap())
}

fn key(provider: &Provider) -> Option<&str> {
    provider.api_key.as_ref().map(Secret::expose)
}

#[test]
fn a_flavor_and_a_key_are_a_whole_provider() {
    let env = [
        ("GROQ_API_KEY", "gsk-12345678"),
        ("AWS_BEARER_TOKEN_BEDROCK", "bedrock-12345678"),
    ];
    let groq = provider("flavor = \"groq\"", &env).unwrap();
    assert_eq!(groq.dialect, "openai-chat");
    assert_eq!(groq.base_url.as_str(), "https://api.groq.com/openai/v1");
    assert_eq!(key(&groq), Some("gsk-12345678"));
    let local = provider("flavor = \"vllm\"\ndialect = \"anthropic\"", &[]).unwrap();
    assert_eq!(local.base_url.as_str(), "http://localhost:8000");
    assert_eq!(key(&local), None);
    let bedrock = provider("flavor = \"bedrock\"\nregion = \"eu-west-1\"", &env).unwrap();
    let url = "https://bedrock-runtime.eu-west-1.amazonaws.com/anthropic";
    assert_eq!(bedrock.base_url.as_str(), url);
    assert_eq!(bedrock.dialect, "anthropic");
}

#[test]
fn the_path_of_a_flavor_is_added_to_an_address_that_lacks_it() {
    let env = [("AZURE_API_KEY", "azure-12345678")];
    for given in [
        "https://r.openai.azure.com",
        "https://r.openai.azure.com/openai/",
    ] {
        let keys = format!("flavor = \"azure\"\nbase_url = \"{given}\"");
        let v1 = provider(&keys, &env).unwrap();
        assert_eq!(v1.base_url.as_str(), "https://r.openai.azure.com/openai/v1");
        let dated = provider(&format!("{keys}\napi_version = \"2024-10-21\""), &env).unwrap();
        assert_eq!(dated.base_url.as_str(), "https://r.openai.azure.com/openai");
        let claude = format!("flavor = \"azure\"\nbase_url = \"{given}\"\ndialect = \"anthropic\"");
        assert!(
            provider(&claude, &env)
                .unwrap()
                .base_url
                .as_str()
                .ends_with("/anthropic")
        );
    }
    let keys = "flavor = \"azure\"\nbase_url = \"https://r.openai.azure.com/openai/v1\"";
    let whole = provider(keys, &env).unwrap();
    assert_eq!(
        whole.base_url.as_str(),
        "https://r.openai.azure.com/openai/v1"
    );
}

#[test]
fn a_place_of_vertex_has_its_own_host() {
    for (region, host) in [
        (
            "global",
            "https://aiplatform.googleapis.com/v1/projects/p1/locations/global/",
        ),
        (
            "eu",
            "https://aiplatform.eu.rep.googleapis.com/v1/projects/p1/locations/eu/",
        ),
        (
            "europe-west4",
            "https://europe-west4-aiplatform.googleapis.com/v1/projects/p1/locations/europe-west4/",
        ),
    ] {
        let keys = format!("flavor = \"vertex\"\nproject = \"p1\"\nregion = \"{region}\"");
        let vertex = provider(&keys, &[]).unwrap();
        assert!(
            vertex.base_url.as_str().starts_with(host),
            "{:?}",
            vertex.base_url
        );
        assert!(matches!(vertex.access, Some(Access::GoogleMetadata { .. })));
    }
}

#[test]
fn credentials_of_a_cloud_come_from_their_usual_variables() {
    let entra = [
        ("AZURE_TENANT_ID", "t1"),
        ("AZURE_CLIENT_ID", "c1"),
        ("AZURE_CLIENT_SECRET", "secret-12345678"),
    ];
    let keys = "flavor = \"azure\"\nbase_url = \"https://r.openai.azure.com\"";
    let azure = provider(keys, &entra).unwrap();
    let url = "https://login.microsoftonline.com/t1/oauth2/v2.0/token";
    let is_entra =
        |access: &Access| matches!(access, Access::Entra { token_url, .. } if token_url == url);
    assert!(
        azure.access.as_ref().is_some_and(is_entra),
        "{:?}",
        azure.access
    );
    assert!(!format!("{azure:?}").contains("secret-1"));
    let aws = [
        ("AWS_ACCESS_KEY_ID", "AKID"),
        ("AWS_SECRET_ACCESS_KEY", "secret-12345678"),
        ("AWS_REGION", "us-west-2"),
    ];
    let bedrock = provider("flavor = \"bedrock-invoke\"", &aws).unwrap();
    assert!(matches!(bedrock.access, Some(Access::Aws { .. })));
    assert!(bedrock.base_url.as_str().contains(".us-west-2."));
}

#[test]
fn what_a_flavor_lacks_or_does_not_know_is_told() {
    for (keys, problem) in [
        (
            "flavor = \"grok\"",
            "providers.p.flavor: should be one of openai, anthropic,",
        ),
        (
            "flavor = \"groq\"",
            "providers.p: there is no key: set GROQ_API_KEY, or name another",
        ),
        (
            "flavor = \"azure\"",
            "providers.p: `base_url` is missing, such as \"https://my-resource.openai.azure.com\"",
        ),
        ("flavor = \"vertex\"", "providers.p: `project` is missing"),
        ("flavor = \"bedrock\"", "providers.p: `region` is missing"),
        (
            "flavor = \"bedrock\"",
            "or set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY",
        ),
        (
            "flavor = \"mistral\"\ndialect = \"anthropic\"",
            "providers.p.dialect: should be one of openai-chat, not `anthropic`",
        ),
        (
            "flavor = \"vllm\"\nregion = \"x\"",
            "providers.p.region: means nothing to the flavor `vllm`; leave it out",
        ),
        (
            "dialect = \"anthropic\"\nbase_url = \"http://a\"\nproject = \"x\"",
            "providers.p.project: means nothing to a provider without a flavor",
        ),
    ] {
        let error = provider(keys, &[("AWS_EC2_METADATA_DISABLED", "true")]).unwrap_err();
        assert!(error.contains(problem), "{keys}: {error}");
    }
}

/// The table of `docs/providers.md` names every flavor, its dialects and its keys' variables.
#[test]
fn the_page_of_providers_has_every_flavor() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/providers.md");
    let page = std::fs::read_to_string(path).unwrap();
    let mut table =
        String::from("| flavor | dialects | address | key |\n| --- | --- | --- | --- |\n");
    for flavor in FLAVORS {
        let dialects: Vec<String> = flavor
            .homes
            .iter()
            .map(|home| format!("`{}`", home.dialect))
            .collect();
        let host = match flavor.homes[0].host {
            "" => "yours".to_owned(),
            "https://{vertex}" => "of the location".to_owned(),
            host => format!("`{host}{}`", flavor.homes[0].path),
        };
        let keys: Vec<String> = flavor.keys.iter().map(|key| format!("`{key}`")).collect();
        let keys = if keys.is_empty() {
            "–".to_owned()
        } else {
            keys.join(", ")
        };
        table.push_str(&format!(
            "| `{}` | {} | {host} | {keys} |\n",
            flavor.name,
            dialects.join(", ")
        ));
    }
    let wanted = page::with_table(&page, "flavors", &table);
    if std::env::var_os("UPDATE_DOCS").is_some() {
        std::fs::write(path, wanted).unwrap();
    } else {
        assert!(
            page == wanted,
            "docs/providers.md is out of date: UPDATE_DOCS=1 cargo test --lib config"
        );
    }
}
