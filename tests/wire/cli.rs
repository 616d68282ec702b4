//! The command line: each thing that a person gets wrong is one line that says what would be right,
//! and exit code 2.

use std::process::{Command, Output};

use rcgen::generate_simple_self_signed;

use crate::support::Server;

fn run(arguments: &[&str], folder: &std::path::Path, env: &[(&str, &str)]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_tokenrill"));
    command
        .args(arguments)
        .current_dir(folder)
        .envs(env.iter().copied())
        .output()
        .unwrap()
}

/// Returns the lines of a refusal, without the program's name.
fn complaints(output: &Output) -> Vec<String> {
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(2), "{text}");
    let lines = text.lines().map(|line| line.strip_prefix("tokenrill: "));
    let lines: Option<Vec<&str>> = lines.collect();
    let lines = lines.unwrap_or_else(|| panic!("a line without our name: {text}"));
    lines.into_iter().map(str::to_owned).collect()
}

/// Returns the only line of a refusal.
fn complaint(output: &Output) -> String {
    let mut lines = complaints(output);
    assert_eq!(lines.len(), 1, "{lines:?}");
    lines.remove(0)
}

#[test]
fn check_and_start_complain_alike() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("c.toml");
    let provider = "[providers.up]\ndialect = \"openai-chat\"\nbase_url = \"http://localhost\"\napi_key_env = \"NO_SUCH_KEY\"\n";
    let models = "[[models]]\nname = \"*\"\ntargets = [{ provider = \"up\" }]\n";
    for (text, says) in [
        (
            "lisen = \"127.0.0.1:0\"",
            "c.toml:1: lisen: there is no such key; did you mean `listen`?",
        ),
        (
            "[timeouts]\nconnect = 5",
            "c.toml:2: timeouts.connect: should be a duration",
        ),
        (&format!("{provider}{models}"), "NO_SUCH_KEY is not set"),
        ("[log]\nlevel = \"tokenrill=loud\"", "log.level"),
        ("prompts = \"nowhere\"", "nowhere: can't read the folder"),
    ] {
        std::fs::write(&file, text).unwrap();
        for arguments in [
            &["check", "--config", "c.toml"][..],
            &["--config", "c.toml", "--listen", "127.0.0.1:0"],
        ] {
            let line = complaint(&run(arguments, folder.path(), &[]));
            assert!(line.contains(says), "{line}");
        }
    }
    assert!(
        complaint(&run(
            &["check", "--config", "none.toml"],
            folder.path(),
            &[]
        ))
        .contains("none.toml: can't read")
    );
    std::fs::create_dir(folder.path().join("prompts")).unwrap();
    std::fs::write(folder.path().join("prompts/x.md"), "+++\n+++\n{{ oops }}").unwrap();
    std::fs::write(&file, "").unwrap();
    assert!(
        complaint(&run(&["check", "--config", "c.toml"], folder.path(), &[]))
            .contains("prompts/x.md:3: `oops` is used")
    );
    std::fs::remove_file(folder.path().join("prompts/x.md")).unwrap();
    let fine = run(&["check", "--config", "c.toml"], folder.path(), &[]);
    assert_eq!(
        String::from_utf8_lossy(&fine.stdout),
        "tokenrill: c.toml is fine: 0 providers, 0 models, 0 prompts\n"
    );
}

#[test]
fn all_that_is_wrong_is_told_at_once() {
    let folder = tempfile::tempdir().unwrap();
    let text = "lisen = \"127.0.0.1:0\"\nworkers = 5000\n[timeouts]\nconnect = 5\n[log]\nlevel = \"tokenrill=loud\"\n\
                [providers.up]\ndialect = \"openai-chat\"\nbase_url = \"http://localhost\"\napi_key_env = \"NO_SUCH_KEY\"\n\
                [providers.down]\ndialect = \"antropic\"\nbase_ulr = \"http://localhost\"\napi_key_file = \"none\"\n\
                [[models]]\nname = \"*\"\ntargets = [{ provider = \"up\" }]\n\
                [[models]]\nname = \"m\"\ntargets = [{ provider = \"down\" }]\n";
    std::fs::write(folder.path().join("c.toml"), text).unwrap();
    let env = [
        ("TOKENRILL_DRAIN", "soon"),
        ("TOKENRILL_LISEN", "127.0.0.1:0"),
    ];
    let wanted = [
        "c.toml:1: lisen: there is no such key; did you mean `listen`?",
        "c.toml:2: workers: should be a whole number from 1 to 1024, not 5000",
        "c.toml:4: timeouts.connect: should be a duration such as",
        "c.toml:6: log.level: error parsing level filter: ",
        "c.toml:10: providers.up.api_key_env: the environment variable NO_SUCH_KEY is not set",
        "c.toml:12: providers.down.dialect: should be one of ",
        "c.toml:13: providers.down.base_ulr: there is no such key; did you mean `base_url`?",
        "c.toml:14: providers.down.api_key_file: can't read the key file none: ",
        "TOKENRILL_DRAIN: should be a duration such as",
        "TOKENRILL_LISEN: no key of the configuration has this name; did you mean TOKENRILL_LISTEN?",
    ];
    for arguments in [
        &["check", "--config", "c.toml"][..],
        &["--config", "c.toml", "--listen", "127.0.0.1:0"],
    ] {
        let lines = complaints(&run(arguments, folder.path(), &env));
        assert_eq!(lines.len(), wanted.len(), "{}", lines.join("\n"));
        for (line, want) in lines.iter().zip(wanted) {
            assert!(line.starts_with(want), "got {line}, want {want}");
        }
    }
}

#[test]
fn a_certificate_that_is_no_good_is_one_line() {
    let folder = tempfile::tempdir().unwrap();
    let pair = || generate_simple_self_signed(vec!["t".to_owned()]).unwrap();
    let (ours, other) = (pair(), pair());
    for (name, text) in [
        ("c.toml", "[tls]\ncert = \"cert.pem\"\nkey = \"key.pem\"\n"),
        ("good.pem", &ours.cert.pem()),
        ("good.key", &ours.signing_key.serialize_pem()),
        ("other.key", &other.signing_key.serialize_pem()),
        ("empty", ""),
        (
            "broken",
            "-----BEGIN CERTIFICATE-----\n!\n-----END CERTIFICATE-----\n",
        ),
    ] {
        std::fs::write(folder.path().join(name), text).unwrap();
    }
    for (cert, key, says) in [
        ("none.pem", "good.key", "tls.cert: can't read none.pem: "),
        ("good.pem", "none.key", "tls.key: can't read none.key: "),
        (
            "empty",
            "good.key",
            "tls.cert: empty contains no certificate in PEM format",
        ),
        (
            "good.key",
            "good.key",
            "tls.cert: good.key contains no certificate in PEM format",
        ),
        (
            "good.pem",
            "good.pem",
            "tls.key: good.pem contains no private key in PEM format",
        ),
        ("broken", "good.key", "tls.cert: broken is not a PEM file: "),
        (
            "good.pem",
            "other.key",
            "tls: good.pem and other.key can't be used: ",
        ),
    ] {
        let env = [("TOKENRILL_TLS_CERT", cert), ("TOKENRILL_TLS_KEY", key)];
        for arguments in [
            &["check", "--config", "c.toml"][..],
            &["--config", "c.toml", "--listen", "127.0.0.1:0"],
        ] {
            let line = complaint(&run(arguments, folder.path(), &env));
            assert!(line.contains(says), "{line}");
        }
    }
    let env = [
        ("TOKENRILL_TLS_CERT", "good.pem"),
        ("TOKENRILL_TLS_KEY", "good.key"),
    ];
    assert!(
        run(&["check", "--config", "c.toml"], folder.path(), &env)
            .status
            .success()
    );
}

#[test]
fn a_port_in_use_is_one_line() {
    let server = Server::mock();
    let folder = tempfile::tempdir().unwrap();
    let address = server.address.to_string();
    let line = complaint(&run(&["--listen", &address], folder.path(), &[]));
    assert!(
        line.contains(&address) && line.contains("choose another with --listen"),
        "{line}"
    );
    let line = complaint(&run(&[], folder.path(), &[("TOKENRILL_LISEN", &address)]));
    assert!(line.contains("did you mean TOKENRILL_LISTEN?"), "{line}");
}

#[test]
fn help_and_version_are_there() {
    let folder = tempfile::tempdir().unwrap();
    let help = String::from_utf8(run(&["--help"], folder.path(), &[]).stdout).unwrap();
    assert!(
        ["--config", "--listen", "check", "tail", "healthcheck"]
            .iter()
            .all(|word| help.contains(word)),
        "{help}"
    );
    let version = String::from_utf8(run(&["--version"], folder.path(), &[]).stdout).unwrap();
    assert_eq!(
        version.trim(),
        format!("tokenrill {}", env!("CARGO_PKG_VERSION"))
    );
}

#[test]
fn tail_prints_the_tokens_and_tells_a_broken_stream() {
    let server = Server::with("[mock]\ntokens_per_second = 0\n", &[]);
    let folder = tempfile::tempdir().unwrap();
    let url = |query: &str| format!("http://{}/stream?{query}", server.address);
    let whole = run(
        &["tail", &url("prompt=a%20b%0Ac&model=mock-echo")],
        folder.path(),
        &[],
    );
    assert_eq!(
        (
            String::from_utf8_lossy(&whole.stdout).as_ref(),
            whole.status.code()
        ),
        ("a b\nc\n", Some(0))
    );
    let broken = run(
        &["tail", &url("prompt=a&model=mock-break")],
        folder.path(),
        &[],
    );
    assert_eq!(broken.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&broken.stderr).contains("the stream broke"));
    assert!(
        complaint(&run(
            &["tail", &url("prompt=a&model=nope")],
            folder.path(),
            &[]
        ))
        .contains("404")
    );
    let lines = server.log().matches("\"message\":\"generation\"").count();
    assert_eq!(lines, 2, "nothing was asked twice");
    let health = format!("http://{}/healthz", server.address);
    assert!(
        run(&["healthcheck", &health], folder.path(), &[])
            .status
            .success()
    );
    assert_eq!(
        run(&["healthcheck", "http://127.0.0.1:1/"], folder.path(), &[])
            .status
            .code(),
        Some(1)
    );
}
