//! The folder of templates: edits, broken ones, names that two files claim.

use super::*;

#[test]
fn an_edit_is_seen_at_once_and_a_broken_one_changes_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("a.md");
    fs::write(&file, "+++\n+++\none").unwrap();
    let library = Library::open(folder.path(), true).unwrap();
    let say = || {
        library
            .current()
            .get("a")
            .map(|t| t.render(Map::new()).unwrap().user)
    };
    assert_eq!(say().as_deref(), Some("one"));
    fs::write(&file, "+++\n+++\ntwo, longer").unwrap();
    assert_eq!(say().as_deref(), Some("two, longer"));
    fs::write(&file, "+++\n+++\n{{ broken").unwrap();
    assert_eq!(say().as_deref(), Some("two, longer"));
    fs::write(folder.path().join("b.md"), "+++\n+++\nnew").unwrap();
    assert!(library.current().get("b").is_some());
    fs::remove_file(&file).unwrap();
    assert_eq!(say(), None);
}

/// Where logs go in a test.
#[derive(Clone, Default)]
struct Lines(Arc<Mutex<Vec<u8>>>);

impl io::Write for Lines {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[test]
fn a_broken_edit_is_told_once_with_file_and_line() {
    let folder = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| fs::write(folder.path().join(name), text).unwrap();
    write("a.md", "+++\n+++\na");
    let library = Library::open(folder.path(), true).unwrap();
    let lines = Lines::default();
    let writer = lines.clone();
    let subscriber = tracing_subscriber::fmt()
        .with_writer(move || writer.clone())
        .finish();
    tracing::subscriber::with_default(subscriber, || {
        write("a.md", "+++\n+++\n\n{{ broken");
        write("b.md", "+++\nname = 'a'\n+++\nclaims a name");
        for _ in 0..3 {
            assert!(library.current().get("a").is_some());
        }
        // Another file's edit repeats nothing.
        write("c.md", "+++\n+++\nc");
        assert!(library.current().get("c").is_some());
    });
    let log = String::from_utf8(lines.0.lock().unwrap().clone()).unwrap();
    assert_eq!(log.matches("ERROR").count(), 2, "{log}");
    assert!(
        log.contains("a.md:4: ") && log.contains("b.md: there is a template `a` already"),
        "{log}"
    );
}

#[test]
fn a_name_stays_with_who_has_it_and_others_go_on() {
    let folder = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| fs::write(folder.path().join(name), text).unwrap();
    write("m.md", "+++\n+++\nm");
    write("z.md", "+++\n+++\nz");
    write("._z.md", "no template");
    let library = Library::open(folder.path(), true).unwrap();
    let say = |name: &str| {
        library
            .current()
            .get(name)
            .map(|t| t.render(Map::new()).unwrap().user)
    };
    // Before `m` in the alphabet, and yet later.
    write("a.md", "+++\nname = 'm'\n+++\nnew m");
    assert_eq!(say("m").as_deref(), Some("m"));
    // Who claims another's name stays as it was, and nobody else is held up.
    write("z.md", "+++\nname = 'm'\n+++\nanother m");
    assert_eq!(
        (say("m").as_deref(), say("z").as_deref()),
        (Some("m"), Some("z"))
    );
    write("m.md", "+++\n+++\nm edited");
    assert_eq!(
        (say("m").as_deref(), say("z").as_deref()),
        (Some("m edited"), Some("z"))
    );
    // Who had the name is gone: the next one has it.
    fs::remove_file(folder.path().join("m.md")).unwrap();
    assert_eq!(say("m").as_deref(), Some("new m"));
    // A file that moves takes its name along.
    fs::rename(folder.path().join("a.md"), folder.path().join("b.md")).unwrap();
    assert!(say("m").is_some());
    fs::remove_file(folder.path().join("b.md")).unwrap();
    assert_eq!((say("m").as_deref(), say("z")), (Some("another m"), None));
}

#[test]
fn a_missing_folder_is_wrong_only_if_it_was_asked_for() {
    let nowhere = Path::new("/nowhere/prompts");
    assert_eq!(
        Library::open(nowhere, false)
            .unwrap()
            .current()
            .list()
            .count(),
        0
    );
    assert!(
        Library::open(nowhere, true)
            .unwrap_err()
            .to_string()
            .starts_with("/nowhere/prompts: can't read the folder")
    );
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("a.md"), "+++\n+++\n").unwrap();
    fs::write(folder.path().join("b.md"), "+++\nname = 'a'\n+++\n").unwrap();
    assert!(
        Library::open(folder.path(), true)
            .unwrap_err()
            .to_string()
            .contains("there is a template `a` already")
    );
}
