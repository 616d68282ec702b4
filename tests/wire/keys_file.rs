//! `tokenrill keys`, the file that it writes, and a server that sees it change.

use std::os::unix::fs::PermissionsExt;

use crate::keys_support::*;
use crate::support::*;

fn says(output: &std::process::Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// Asks for the key's own page.
fn status(server: &Server, key: &str) -> u16 {
    get(server, "/v1/key", &bearer(key)).status()
}

#[test]
fn a_new_key_is_good_at_once_and_the_file_holds_none() {
    let keyed = Keyed::mock("");
    let first = keyed.key("first", &[]);
    let path = keyed.folder.path().join("keys.toml");
    let mode = std::fs::metadata(&path).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    std::fs::write(
        &path,
        format!(
            "# ours\n{}# the end\n",
            std::fs::read_to_string(&path).unwrap()
        ),
    )
    .unwrap();
    let server = keyed.start();
    assert_eq!(status(&server, &first), 200);
    let second = new_key(
        server.folder.path(),
        "a \"second\" one",
        &["--expires", "30d"],
    );
    assert_ne!(status(&server, &second), 200);
    until("the key is taken", || {
        (status(&server, &second) == 200).then_some(())
    });
    let text = std::fs::read_to_string(&path).unwrap();
    assert!(
        text.starts_with("# ours\n") && text.contains("# the end\n"),
        "{text}"
    );
    for key in [&first, &second] {
        assert!(!text.contains(&key[17..]), "{text}");
    }
    let listed = keys(server.folder.path(), &["list"]);
    let listed = String::from_utf8(listed.stdout).unwrap();
    assert!(
        listed.contains(id(&first)) && listed.contains("a \"second\" one"),
        "{listed}"
    );
    assert!(!listed.contains("sha256"), "{listed}");
}

#[test]
fn a_file_that_is_wrong_keeps_the_keys_and_is_told_once() {
    let keyed = Keyed::mock("");
    let key = keyed.key("ci", &[]);
    let server = keyed.start();
    let path = server.path("keys.toml");
    let good = std::fs::read_to_string(&path).unwrap();
    std::fs::write(&path, format!("{good}expries = 2027-01-01T00:00:00Z\n")).unwrap();
    let line = server.logged("the file of keys is wrong: the keys stay as they were", 1);
    let error = line["error"].as_str().unwrap();
    assert!(error.contains("keys.toml:5: keys.0.expries"), "{error}");
    assert!(error.contains("did you mean `expires`?"), "{error}");
    assert_eq!(status(&server, &key), 200);
    // Gone altogether: the same.
    std::fs::remove_file(&path).unwrap();
    server.logged("the file of keys is wrong: the keys stay as they were", 2);
    assert_eq!(status(&server, &key), 200);
    std::fs::write(&path, "").unwrap();
    until("no key is left", || {
        (status(&server, &key) == 401).then_some(())
    });
    std::fs::write(&path, good).unwrap();
    until("the key is back", || {
        (status(&server, &key) == 200).then_some(())
    });
}

#[test]
fn rotation_gives_time_and_revocation_none() {
    let keyed = Keyed::mock("");
    let first = keyed.key("ci", &[]);
    let folder = keyed.folder.path();
    let rotate =
        |more: &[&str]| printed_key(&keys(folder, &[&["rotate", id(&first)], more].concat()));
    let second = rotate(&[]);
    assert_eq!(id(&second), id(&first));
    let server = keyed.start();
    assert_eq!(
        (status(&server, &first), status(&server, &second)),
        (200, 200)
    );
    let folder = server.folder.path();
    let third = keys(folder, &["rotate", id(&first), "--overlap", "0s"]);
    let third = printed_key(&third);
    until("the third is taken", || {
        (status(&server, &third) == 200).then_some(())
    });
    assert_eq!(
        (status(&server, &first), status(&server, &second)),
        (401, 401)
    );
    assert!(keys(folder, &["revoke", id(&first)]).status.success());
    until("the third is revoked", || {
        (status(&server, &third) == 401).then_some(())
    });
    let refused = keys(folder, &["rotate", id(&first)]);
    assert!(says(&refused).contains("is revoked"), "{}", says(&refused));
}

#[test]
fn the_command_says_what_is_wrong_and_changes_nothing() {
    let keyed = Keyed::mock("[[teams]]\nname = \"search\"\n");
    keyed.key("ci", &[]);
    let folder = keyed.folder.path();
    let path = folder.join("keys.toml");
    let before = std::fs::read_to_string(&path).unwrap();
    for (arguments, says_so) in [
        (
            &["new", "--name", " "][..],
            "--name should say whose key it is",
        ),
        (
            &["new", "--name", "x", "--team", "serch"],
            "did you mean `search`?",
        ),
        (
            &["new", "--name", "x", "--expires", "soon"],
            "should be a time such as 30d",
        ),
        (
            &["revoke", "000000000000"],
            "there is no key `000000000000`",
        ),
    ] {
        let output = keys(folder, arguments);
        assert_eq!(output.status.code(), Some(2), "{arguments:?}");
        assert!(output.stdout.is_empty());
        assert!(says(&output).contains(says_so), "{}", says(&output));
    }
    std::fs::write(folder.join("keys.toml.new"), "").unwrap();
    let busy = keys(folder, &["new", "--name", "x"]);
    assert!(
        says(&busy).contains("keys.toml.new is there"),
        "{}",
        says(&busy)
    );
    assert_eq!(std::fs::read_to_string(&path).unwrap(), before);
    assert!(folder.join("keys.toml.new").exists(), "that is another's");
}

#[test]
fn a_server_that_others_reach_does_not_start_open() {
    let folder = tempfile::tempdir().unwrap();
    let provider = "[providers.up]\ndialect = \"openai-chat\"\nbase_url = \"http://localhost/v1\"\napi_key_env = \"UP_KEY\"\n\
                    [[models]]\nname = \"*\"\ntargets = [{ provider = \"up\" }]\n";
    let check = |config: &str, listen: &str| {
        std::fs::write(folder.path().join("c.toml"), config).unwrap();
        std::process::Command::new(env!("CARGO_BIN_EXE_tokenrill"))
            .args(["--listen", listen, "check", "--config", "c.toml"])
            .current_dir(folder.path())
            .env("UP_KEY", UP_KEY)
            .output()
            .unwrap()
    };
    for listen in ["0.0.0.0:0", "[::]:0", "192.0.2.1:80"] {
        let output = check(provider, listen);
        assert_eq!(output.status.code(), Some(2), "{listen}");
        let says = says(&output);
        assert!(
            says.contains("provider `up`") && says.contains("auth.open = true"),
            "{says}"
        );
        assert!(!says.contains(UP_KEY));
    }
    for listen in ["127.0.0.1:0", "[::1]:0", "127.8.8.8:0"] {
        assert!(check(provider, listen).status.success(), "{listen}");
    }
    assert!(check("", "0.0.0.0:0").status.success(), "the mock alone");
    let open = format!("{provider}[auth]\nopen = true\n");
    assert!(check(&open, "0.0.0.0:0").status.success());
    let both = check(&format!("{open}keys_file = \"keys.toml\"\n"), "127.0.0.1:0");
    assert!(says(&both).contains("auth.open"), "{}", says(&both));
    let none = check(&format!("{provider}{AUTH}"), "0.0.0.0:0");
    assert!(
        says(&none).contains("`tokenrill keys new --name NAME` makes it"),
        "{}",
        says(&none)
    );
}

#[test]
fn check_prints_what_each_key_may_do() {
    let keyed = Keyed::mock(
        "[[teams]]\nname = \"search\"\nmodels = [\"mock-*\"]\nlimits = { tokens_per_minute = 400000, budget = { usd = \"500\", per = \"month\" } }\n",
    );
    let key = keyed.key("ci", &["--team", "search"]);
    let output = std::process::Command::new(env!("CARGO_BIN_EXE_tokenrill"))
        .args(["check", "--config", "c.toml"])
        .current_dir(keyed.folder.path())
        .output()
        .unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    let id = id(&key);
    let line = format!(
        "key {id} of ci: mock-*; no limits; team search: 400000 tokens a minute, 500 USD a month\n"
    );
    assert!(text.ends_with(&line), "{text}");
}
