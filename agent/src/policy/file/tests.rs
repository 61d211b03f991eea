use std::collections::HashMap;
use std::fs;
use std::os::unix::fs::symlink;
use std::sync::{Arc, Mutex};

use secrecy::ExposeSecret;
use tempfile::TempDir;
use weir_api::Auth;

use super::*;
use crate::policy::Loads;

type Variables = Arc<Mutex<HashMap<&'static str, &'static str>>>;

struct Fixture {
    directory: TempDir,
    variables: Variables,
}

impl Fixture {
    fn new() -> Self {
        Self {
            directory: TempDir::new().unwrap(),
            variables: Variables::default(),
        }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    fn write(&self, name: &str, text: &str) -> PathBuf {
        let path = self.path(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, text).unwrap();
        path
    }

    fn start(&self, files: &[PathBuf]) -> FileSource {
        self.try_start(files).unwrap()
    }

    fn try_start(&self, files: &[PathBuf]) -> Result<FileSource, FileError> {
        let variables = Arc::clone(&self.variables);
        let environment = move |name: &str| {
            variables
                .lock()
                .unwrap()
                .get(name)
                .map(|value| (*value).to_owned())
        };
        FileSource::with_environment(files, Box::new(environment))
    }
}

fn backend(host: &str) -> String {
    format!(
        "apiVersion: weir.dev/v1alpha1\nkind: AIBackend\nmetadata: {{name: it}}\nspec:\n  \
         provider: {{openai: {{}}}}\n  hosts: [{host}]\n  auth: {{passthrough: {{}}}}\n"
    )
}

fn hosts(source: &FileSource) -> Vec<String> {
    source.handle().load().hosts().map(str::to_owned).collect()
}

/// Waits for loads; never returns if they do not come, so a lost event is a test that hangs rather than one that flakes.
async fn wait(source: &FileSource, wanted: impl Fn(&Loads) -> bool) -> Loads {
    *source.handle().subscribe().wait_for(wanted).await.unwrap()
}

async fn taken(source: &FileSource, host: &str) {
    let handle = source.handle();
    let found = |_: &Loads| handle.load().backend("default", host).is_some();
    handle.subscribe().wait_for(found).await.unwrap();
}

#[tokio::test]
async fn a_good_change_is_taken() {
    let fixture = Fixture::new();
    let file = fixture.write("weir.yaml", &backend("one.example"));
    let source = fixture.start(&[file]);
    assert_eq!(hosts(&source), ["one.example"]);
    fixture.write("weir.yaml", &backend("two.example"));
    taken(&source, "two.example").await;
    assert_eq!(hosts(&source), ["two.example"]);
}

#[tokio::test]
async fn a_bad_change_is_refused_whole_and_mended() {
    let fixture = Fixture::new();
    let file = fixture.write("weir.yaml", &backend("one.example"));
    let source = fixture.start(&[file]);
    let two = format!("{}---\n{}", backend("two.example"), backend("three.example"));
    fixture.write("weir.yaml", &two);
    let loads = wait(&source, |loads| loads.refused == 1).await;
    assert_eq!(loads, Loads { taken: 1, refused: 1 });
    assert_eq!(hosts(&source), ["one.example"]);
    fixture.write("weir.yaml", &backend("four.example"));
    taken(&source, "four.example").await;
}

#[tokio::test]
async fn an_empty_file_is_refused() {
    let fixture = Fixture::new();
    let file = fixture.write("weir.yaml", &backend("one.example"));
    let source = fixture.start(&[file]);
    fixture.write("weir.yaml", "");
    wait(&source, |loads| loads.refused == 1).await;
    assert_eq!(hosts(&source), ["one.example"]);
}

#[tokio::test]
async fn another_file_renamed_over_it_is_taken() {
    let fixture = Fixture::new();
    let file = fixture.write("weir.yaml", &backend("one.example"));
    let source = fixture.start(std::slice::from_ref(&file));
    for host in ["two.example", "three.example"] {
        let new = fixture.write("weir.yaml.new", &backend(host));
        fs::rename(new, &file).unwrap();
        taken(&source, host).await;
    }
    assert_eq!(wait(&source, |_| true).await.refused, 0);
}

#[tokio::test]
async fn a_swapped_link_is_taken() {
    // As kubelet lays a ConfigMap out, and changes it: data in a directory of its own, a link to it renamed over.
    let fixture = Fixture::new();
    fixture.write("..2024/weir.yaml", &backend("one.example"));
    symlink("..2024", fixture.path("..data")).unwrap();
    symlink("..data/weir.yaml", fixture.path("weir.yaml")).unwrap();
    let source = fixture.start(&[fixture.path("weir.yaml")]);
    for (directory, host) in [("..2025", "two.example"), ("..2026", "three.example")] {
        fixture.write(&format!("{directory}/weir.yaml"), &backend(host));
        symlink(directory, fixture.path("..data_tmp")).unwrap();
        fs::rename(fixture.path("..data_tmp"), fixture.path("..data")).unwrap();
        taken(&source, host).await;
    }
    assert_eq!(wait(&source, |_| true).await.refused, 0);
}

#[tokio::test]
async fn what_a_link_leads_to_is_watched() {
    let fixture = Fixture::new();
    let real = fixture.write("elsewhere/real.yaml", &backend("one.example"));
    symlink(&real, fixture.path("weir.yaml")).unwrap();
    let source = fixture.start(&[fixture.path("weir.yaml")]);
    fs::write(&real, backend("two.example")).unwrap();
    taken(&source, "two.example").await;
}

#[tokio::test]
async fn a_file_that_went_and_came_back_is_taken() {
    let fixture = Fixture::new();
    let file = fixture.write("sub/weir.yaml", &backend("one.example"));
    let source = fixture.start(std::slice::from_ref(&file));
    fs::remove_file(&file).unwrap();
    wait(&source, |loads| loads.refused == 1).await;
    assert_eq!(hosts(&source), ["one.example"]);
    fixture.write("sub/weir.yaml", &backend("two.example"));
    taken(&source, "two.example").await;
}

#[tokio::test]
async fn a_directory_that_is_replaced_is_followed() {
    let fixture = Fixture::new();
    let file = fixture.write("sub/weir.yaml", &backend("one.example"));
    let source = fixture.start(&[file]);
    fixture.write("new/weir.yaml", &backend("two.example"));
    fs::rename(fixture.path("sub"), fixture.path("old")).unwrap();
    fs::rename(fixture.path("new"), fixture.path("sub")).unwrap();
    taken(&source, "two.example").await;
    fixture.write("sub/weir.yaml", &backend("three.example"));
    taken(&source, "three.example").await;
}

#[tokio::test]
async fn a_rotated_secret_in_a_file_of_its_own_is_taken() {
    let fixture = Fixture::new();
    let secret = |key: &str| {
        format!("apiVersion: v1\nkind: Secret\nmetadata: {{name: key}}\nstringData: {{apiKey: '{key}'}}\n")
    };
    let with_key = backend("one.example").replace("passthrough: {}", "secretRef: {name: key}");
    let files = [
        fixture.write("weir.yaml", &with_key),
        fixture.write("key.yaml", &secret("${KEY}-1")),
    ];
    fixture.variables.lock().unwrap().insert("KEY", "sk");
    let source = fixture.start(&files);
    let key = |source: &FileSource| match &source.handle().load().backends()[0].auth {
        Auth::Key(key) => key.expose_secret().to_owned(),
        other => panic!("{other:?}"),
    };
    assert_eq!(key(&source), "sk-1");
    fixture.write("key.yaml", &secret("${KEY}-2"));
    wait(&source, |loads| loads.taken == 2).await;
    assert_eq!(key(&source), "sk-2");
}

#[test]
fn the_first_configuration_must_be_good() {
    let fixture = Fixture::new();
    let missing = fixture
        .try_start(&[fixture.path("missing/weir.yaml")])
        .unwrap_err();
    assert!(matches!(missing, FileError::Unreadable { .. }), "{missing}");
    let bad = fixture.write("weir.yaml", &backend("one.example").replace("hosts", "hots"));
    let bad = fixture.try_start(&[bad]).unwrap_err().to_string();
    assert!(
        bad.ends_with("weir.yaml:6: AIBackend default/it: spec.hots: unknown field, did you mean `hosts`?"),
        "{bad}"
    );
}
